// An ICRC-1 ledger that also serves a page: compiled by the Motoko compiler of npm's `motoko`.
// Everybody may mint.
import Array "mo:core/Array";
import Blob "mo:core/Blob";
import Map "mo:core/Map";
import Nat "mo:core/Nat";
import Nat8 "mo:core/Nat8";
import Principal "mo:core/Principal";
import Text "mo:core/Text";

persistent actor Token {
  type Account = { owner : Principal; subaccount : ?Blob };
  type TransferArg = {
    from_subaccount : ?Blob; to : Account; amount : Nat; fee : ?Nat; memo : ?Blob; created_at_time : ?Nat64;
  };
  type TransferError = {
    #BadFee : { expected_fee : Nat }; #BadBurn : { min_burn_amount : Nat };
    #InsufficientFunds : { balance : Nat }; #TooOld; #CreatedInFuture : { ledger_time : Nat64 };
    #Duplicate : { duplicate_of : Nat }; #TemporarilyUnavailable;
    #GenericError : { error_code : Nat; message : Text };
  };
  type Value = { #Nat : Nat; #Int : Int; #Text : Text; #Blob : Blob };

  let fee = 10;
  let balances = Map.empty<Text, Nat>();
  var blocks = 0;
  var visits = 0;

  func key({ owner; subaccount } : Account) : Text {
    let zero = Blob.fromArray(Array.repeat<Nat8>(0, 32));
    let part = switch (subaccount) { case (?bytes) bytes; case null zero };
    owner.toText() # debug_show part;
  };

  func held(account : Account) : Nat {
    switch (Map.get(balances, Text.compare, key account)) { case (?amount) amount; case null 0 };
  };

  func hold(account : Account, amount : Nat) {
    Map.add(balances, Text.compare, key account, amount);
  };

  public func mint(to : Account, amount : Nat) : async () { hold(to, held to + amount) };

  public shared ({ caller }) func icrc1_transfer(arg : TransferArg) : async { #Ok : Nat; #Err : TransferError } {
    let from = { owner = caller; subaccount = arg.from_subaccount };
    switch (arg.fee) {
      case (?given) if (given != fee) return #Err(#BadFee { expected_fee = fee });
      case null {};
    };
    let balance = held from;
    if (balance < arg.amount + fee) return #Err(#InsufficientFunds { balance });
    hold(from, balance - arg.amount - fee);
    hold(arg.to, held(arg.to) + arg.amount);
    blocks += 1;
    #Ok(blocks - 1);
  };

  public query func icrc1_balance_of(account : Account) : async Nat { held account };
  public query func icrc1_fee() : async Nat { fee };
  public query func icrc1_name() : async Text { "Conformance" };
  public query func icrc1_metadata() : async [(Text, Value)] {
    [("icrc1:name", #Text "Conformance"), ("icrc1:symbol", #Text "CNF"), ("icrc1:decimals", #Nat 8), ("icrc1:fee", #Nat fee)];
  };

  type Request = { method : Text; url : Text; headers : [(Text, Text)]; body : Blob };
  type Part = { at : Nat; of : Nat; name : Text };
  type Strategy = { #Callback : { callback : shared query Part -> async { body : Blob; token : ?Part }; token : Part } };
  type Response = {
    status_code : Nat16; headers : [(Text, Text)]; body : Blob; upgrade : ?Bool; streaming_strategy : ?Strategy;
  };

  func whole(status_code : Nat16, text : Text, upgrade : ?Bool) : Response {
    { status_code; headers = [("Content-Type", "text/plain")]; body = text.encodeUtf8(); upgrade; streaming_strategy = null };
  };

  public query func http_request(request : Request) : async Response {
    if (request.url == "/visit") return whole(200, "", ?true);
    if (request.url != "/parts?of=3") return whole(404, request.method # " " # request.url, null);
    let token = { at = 1; of = 3; name = "part" };
    { whole(200, "part 0\n", null) with streaming_strategy = ?#Callback { callback = next; token } };
  };

  public query func next(part : Part) : async { body : Blob; token : ?Part } {
    let token = if (part.at + 1 == part.of) null else ?{ part with at = part.at + 1 };
    { body = (part.name # " " # part.at.toText() # "\n").encodeUtf8(); token };
  };

  public func http_request_update(request : Request) : async Response {
    visits += 1;
    let visit = visits;
    let cost = await icrc1_fee(); // a call to itself: the answer comes later
    whole(200, request.method # " " # visit.toText() # " for " # cost.toText(), null);
  };
};
