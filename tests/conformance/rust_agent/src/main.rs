//! Drives the embedded network with the Rust agent, unmodified, verification on.
//!
//! usage: rust-agent URL ROOT_KEY_HEX SUBNET COUNTER_WASM LARGE_WASM ; prints one JSON object.

use std::error::Error;
use std::fmt::Write;

use candid::{Decode, Encode, Principal};
use ic_agent::agent::{CallResponse, RequestStatusResponse};
use ic_agent::identity::{AnonymousIdentity, BasicIdentity, Secp256k1Identity};
use ic_agent::{Agent, AgentError, Identity, RequestId};
use ic_management_canister_types::{FetchCanisterLogsArgs, ProvisionalTopUpCanisterArgs};
use ic_utils::call::{AsyncCall, SyncCall};
use ic_utils::interfaces::ManagementCanister;
use ic_utils::interfaces::management_canister::builders::CanisterInstallMode;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

type Outcome<T> = Result<T, Box<dyn Error>>;

struct Network {
    url: String,
    root_key: Vec<u8>,
    subnet: Principal,
}

impl Network {
    fn agent(&self, identity: impl Identity + 'static) -> Outcome<Agent> {
        let agent = Agent::builder()
            .with_url(&self.url)
            .with_identity(identity)
            .with_verify_query_signatures(true)
            .build()?;
        agent.set_root_key(self.root_key.clone());
        Ok(agent)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Whether a refusal is certified, its codes and its words.
fn refusal<T>(result: Result<T, AgentError>) -> Value {
    match result {
        Ok(_) => json!("no refusal"),
        Err(AgentError::CertifiedReject { reject, .. }) => {
            json!([
                "certified",
                reject.reject_code as u8,
                reject.error_code,
                reject.reject_message
            ])
        }
        Err(AgentError::UncertifiedReject { reject, .. }) => {
            json!([
                "uncertified",
                reject.reject_code as u8,
                reject.error_code,
                reject.reject_message
            ])
        }
        Err(other) => json!(["other", other.to_string()]),
    }
}

async fn drive(network: &Network, agent: &Agent, wasm: &[u8], large: &[u8]) -> Outcome<Value> {
    let mut saw = Map::new();
    let mut note = |name: &str, value: Value| {
        saw.insert(name.to_string(), value);
    };
    let me = agent.get_principal()?;
    note("me", json!(me.to_text()));
    let ic = ManagementCanister::create(agent);

    // A canister, made at the subnet's URL.
    let (canister,) = ic
        .create_canister()
        .as_provisional_create_with_amount(Some(20_000_000_000_000))
        .with_effective_subnet_id(network.subnet)
        .call_and_wait()
        .await?;
    ic.install_code(&canister, wasm).call_and_wait().await?;

    // Updates: answered at once, and sent first and asked for later.
    let one = agent
        .update(&canister, "add")
        .with_arg(Encode!(&5u64)?)
        .call_and_wait()
        .await?;
    note("added", json!(Decode!(&one, u64)?));
    let signed = agent
        .update(&canister, "add")
        .with_arg(Encode!(&6u64)?)
        .sign()?;
    let sent = agent
        .update_signed(canister, signed.signed_update.clone())
        .await?;
    note(
        "answered_at_once",
        json!(matches!(sent, CallResponse::Response(_))),
    );
    let again = agent.update_signed(canister, signed.signed_update).await?;
    note(
        "same_answer_again",
        json!(matches!((&sent, &again),
        (CallResponse::Response(a), CallResponse::Response(b)) if a == b)),
    );
    let (polled, certificate) = agent.wait(&signed.request_id, canister).await?;
    note("polled", json!(Decode!(&polled, u64)?));
    agent.verify(&certificate, canister)?;
    let (status, _) = agent
        .request_status_raw(&signed.request_id, canister)
        .await?;
    note(
        "request_replied",
        json!(matches!(status, RequestStatusResponse::Replied(_))),
    );
    let unheard = agent
        .request_status_raw(&RequestId::new(&[7; 32]), canister)
        .await?
        .0;
    note(
        "request_unknown",
        json!(matches!(unheard, RequestStatusResponse::Unknown)),
    );

    // Queries, whose signatures are verified.
    let got = agent
        .query(&canister, "get")
        .with_arg(Encode!()?)
        .call_with_verification()
        .await?;
    note("got", json!(Decode!(&got, u64)?));

    // What the state tree tells.
    let digest = agent.read_state_canister_module_hash(canister).await?;
    note("module_hash", json!(digest == Sha256::digest(wasm)[..]));
    let controllers = agent.read_state_canister_controllers(canister).await?;
    note("controlled_by_me", json!(controllers == [me]));
    let candid = agent
        .read_state_canister_metadata(canister, "candid:service")
        .await?;
    note("candid", json!(String::from_utf8(candid)?));
    let secret = agent
        .read_state_canister_metadata(canister, "secret")
        .await?;
    note("secret", json!(String::from_utf8(secret)?));
    let stranger = network.agent(AnonymousIdentity)?;
    let hidden = stranger
        .read_state_canister_metadata(canister, "secret")
        .await;
    note(
        "secret_hidden",
        json!(hidden.err().map(|error| error.to_string())),
    );
    let missing = agent.read_state_canister_metadata(canister, "absent").await;
    note(
        "metadata_absent",
        json!(matches!(missing, Err(AgentError::LookupPathAbsent(_)))),
    );
    let subnet = agent.fetch_subnet_by_canister(&canister).await?;
    note(
        "subnet",
        json!(subnet.id() == network.subnet && subnet.contains_canister(&canister)),
    );
    note("nodes", json!(subnet.iter_nodes().count()));
    let by_id = agent.fetch_subnet_by_id(&network.subnet).await?;
    note("subnet_by_id", json!(by_id.id() == network.subnet));
    let ranges = agent
        .read_state_subnet_canister_ranges(network.subnet)
        .await?;
    note(
        "in_ranges",
        json!(
            ranges
                .iter()
                .any(|(low, high)| *low <= canister && canister <= *high)
        ),
    );
    let metrics = agent.read_state_subnet_metrics(network.subnet).await;
    note(
        "metrics_absent",
        json!(matches!(metrics, Err(AgentError::LookupPathAbsent(_)))),
    );
    let health = agent.status().await?;
    note("healthy", json!(health.replica_health_status));
    note(
        "root_key",
        json!(health.root_key.as_deref() == Some(&network.root_key[..])),
    );

    // Refusals: by a trap, by a missing method, by who may, by where.
    let crash = agent
        .update(&canister, "crash")
        .with_arg(Encode!()?)
        .call_and_wait()
        .await;
    note("trap", refusal(crash));
    let absent = agent
        .update(&canister, "absent")
        .with_arg(Encode!()?)
        .call_and_wait()
        .await;
    note("no_update", refusal(absent));
    let absent = agent
        .query(&canister, "absent")
        .with_arg(Encode!()?)
        .call()
        .await;
    note("no_query", refusal(absent));
    let foreign = ManagementCanister::create(&stranger).stop_canister(&canister);
    note("not_controller", refusal(foreign.call_and_wait().await));
    let nowhere = Principal::from_text("rwlgt-iiaaa-aaaaa-aaaaa-cai")?;
    let nowhere = agent
        .update(&nowhere, "add")
        .with_arg(Encode!(&1u64)?)
        .call_and_wait()
        .await;
    note("nowhere", refusal(nowhere));

    // The management canister.
    let (status,) = ic.canister_status(&canister).as_update().call().await?;
    note("status", json!(format!("{:?}", status.status)));
    note(
        "status_hash",
        json!(status.module_hash.as_deref() == Some(&Sha256::digest(wasm)[..])),
    );
    ic.update_settings(&canister)
        .with_freezing_threshold(604_800u64)
        .call_and_wait()
        .await?;
    let (status,) = ic.canister_status(&canister).call().await?;
    note(
        "freezing_threshold",
        json!(status.settings.freezing_threshold.to_string()),
    );
    let before = status.cycles;
    let amount = candid::Nat::from(3_000_000_000_000u64);
    let top_up = ProvisionalTopUpCanisterArgs {
        canister_id: canister,
        amount,
    };
    ic.provisional_top_up_canister(&canister, &top_up)
        .call_and_wait()
        .await?;
    let (status,) = ic.canister_status(&canister).call().await?;
    note("topped_up", json!(status.cycles > before));
    let mode = CanisterInstallMode::Upgrade(None);
    ic.install_code(&canister, wasm)
        .with_mode(mode)
        .call_and_wait()
        .await?;
    let kept = agent
        .query(&canister, "get")
        .with_arg(Encode!()?)
        .call()
        .await?;
    note("kept", json!(Decode!(&kept, u64)?));
    ic.install(&canister, large)
        .with_mode(CanisterInstallMode::Reinstall)
        .call_and_wait()
        .await?;
    let digest = agent.read_state_canister_module_hash(canister).await?;
    note("large_hash", json!(digest == Sha256::digest(large)[..]));
    agent
        .update(&canister, "add")
        .with_arg(Encode!(&1u64)?)
        .call_and_wait()
        .await?;
    let (logs,) = ic
        .fetch_canister_logs(&FetchCanisterLogsArgs {
            canister_id: canister,
            filter: None,
        })
        .call()
        .await?;
    note(
        "log",
        json!(
            logs.canister_log_records
                .last()
                .map(|line| hex(&line.content))
        ),
    );
    ic.stop_canister(&canister).call_and_wait().await?;
    let stopped = agent
        .update(&canister, "add")
        .with_arg(Encode!(&1u64)?)
        .call_and_wait()
        .await;
    note("stopped", refusal(stopped));
    ic.start_canister(&canister).call_and_wait().await?;
    ic.uninstall_code(&canister).call_and_wait().await?;
    let empty = agent
        .query(&canister, "get")
        .with_arg(Encode!()?)
        .call()
        .await;
    note("uninstalled", refusal(empty));
    ic.stop_canister(&canister).call_and_wait().await?;
    ic.delete_canister(&canister).call_and_wait().await?;
    let gone = agent
        .query(&canister, "get")
        .with_arg(Encode!()?)
        .call()
        .await;
    note("gone", refusal(gone));
    Ok(Value::Object(saw))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [url, root_key, subnet, wasm, large] = &words[..] else {
        return Err("usage: rust-agent URL ROOT_KEY_HEX SUBNET COUNTER_WASM LARGE_WASM".into());
    };
    let root_key = (0..root_key.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&root_key[at..at + 2], 16))
        .collect::<Result<_, _>>()?;
    let network = Network {
        url: url.clone(),
        root_key,
        subnet: Principal::from_text(subnet)?,
    };
    let (wasm, large) = (std::fs::read(wasm)?, std::fs::read(large)?);
    let ed25519 = network.agent(BasicIdentity::from_raw_key(&[42; 32]))?;
    let key = k256::SecretKey::from_slice(&[43; 32])?;
    let secp256k1 = network.agent(Secp256k1Identity::from_private_key(key))?;
    let saw = json!({
        "ed25519": drive(&network, &ed25519, &wasm, &large).await?,
        "secp256k1": drive(&network, &secp256k1, &wasm, &large).await?,
    });
    println!("{saw}");
    Ok(())
}
