//! Converts between textual Candid and bytes, for a host that passes both through memory.
//!
//! The host writes each string into memory from `allocate`, calls `encode` or `decode`, and reads
//! `output_length` bytes at `output`. A call that returns 1 has failed, and the output is a message.
#![allow(missing_docs, reason = "the host is datanode/localnet/textual_candid.py")]

use std::cell::RefCell;
use std::fmt::Display;

use candid::types::{Function, Type, TypeInner};
use candid::{IDLArgs, TypeEnv};
use candid_parser::syntax::Dec;
use candid_parser::{Error, IDLProg, check_prog, parse_idl_args};

thread_local! {
    static OUTPUT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What a method, or the constructor, takes and returns.
struct Signature {
    env: TypeEnv,
    arguments: Vec<Type>,
    results: Vec<Type>,
    is_query: bool,
}

/// Look up a method in an interface; the empty name stands for the constructor.
fn signature(interface: &str, method: &str) -> Result<Signature, String> {
    let ast: IDLProg =
        interface.parse().map_err(|error| located("the interface", interface, &error))?;
    let imports = |dec: &Dec| matches!(dec, Dec::ImportType { .. } | Dec::ImportServ { .. });
    if ast.decs.iter().any(imports) {
        return Err("the interface imports another file; pass one that stands alone".into());
    }
    let mut env = TypeEnv::new();
    let service = check_prog(&mut env, &ast)
        .map_err(|error| located("the interface", interface, &error))?
        .ok_or("the interface has no service")?;
    let service = env.trace_type(&service).map_err(text)?;
    let (arguments, service) = match service.as_ref() {
        TypeInner::Class(arguments, service) => (arguments.clone(), service.clone()),
        _ => (Vec::new(), service),
    };
    if method.is_empty() {
        return Ok(Signature { env, arguments, results: Vec::new(), is_query: false });
    }
    let Function { args, rets, .. } = env.get_method(&service, method).map_err(|_| {
        let methods = env.as_service(&service).into_iter().flatten();
        let names: Vec<_> = methods.map(|(name, _)| name.as_str()).collect();
        format!("the interface has no method `{method}`; it has {}", names.join(", "))
    })?;
    let (arguments, results) = (args.clone(), rets.clone());
    let is_query = env.get_method(&service, method).is_ok_and(Function::is_query);
    Ok(Signature { env, arguments, results, is_query })
}

/// Encode textual arguments; the first byte says whether the method is a query.
fn encoded(interface: &str, method: &str, arguments: &str) -> Result<Vec<u8>, String> {
    let args =
        parse_idl_args(arguments).map_err(|error| located("the arguments", arguments, &error))?;
    if interface.is_empty() {
        return Ok([vec![0], args.to_bytes().map_err(text)?].concat());
    }
    let Signature { env, arguments: wanted, is_query, .. } = signature(interface, method)?;
    let mismatch = |detail: &dyn Display| {
        let found = listed(&args.get_types());
        format!("({found}) where ({}) is expected: {detail}", listed(&wanted))
    };
    if args.args.len() > wanted.len() {
        return Err(mismatch(&"too many arguments"));
    }
    let typed = args.clone().annotate_types(true, &env, &wanted);
    let typed = typed.map_err(|error| mismatch(&error))?;
    let bytes = typed.to_bytes_with_types(&env, &wanted).map_err(text)?;
    Ok([vec![u8::from(is_query)], bytes].concat())
}

/// Decode a reply to text; without an interface, by the types that it carries itself.
fn decoded(interface: &str, method: &str, reply: &[u8]) -> Result<Vec<u8>, String> {
    let args = if interface.is_empty() {
        IDLArgs::from_bytes(reply).map_err(text)?
    } else {
        let Signature { env, results, .. } = signature(interface, method)?;
        IDLArgs::from_bytes_with_types(reply, &env, &results).map_err(|error| {
            let found = IDLArgs::from_bytes(reply).map(|args| listed(&args.get_types()));
            let found = found.unwrap_or_else(|_| "no Candid".into());
            format!("the reply is ({found}) where ({}) is expected: {error}", listed(&results))
        })?
    };
    Ok(args.to_string().into_bytes())
}

fn listed(types: &[Type]) -> String {
    let texts: Vec<_> = types.iter().map(|each| one_line(&each.to_string())).collect();
    texts.join(", ")
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn text(error: impl Display) -> String {
    one_line(&error.to_string())
}

/// Word an error with the line and the column that it is about.
fn located(what: &str, source: &str, error: &Error) -> String {
    let report = error.report();
    let notes: Vec<_> = report.notes.iter().map(|note| one_line(note)).collect();
    let notes = notes.iter().map(|note| format!("; {note}")).collect::<String>();
    let Some(label) = report.labels.first() else {
        return format!("{what}: {}{notes}", one_line(&report.message));
    };
    let before = source.get(..label.range.start).unwrap_or(source);
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|&each| each != '\n').count() + 1;
    format!("{what}, line {line}, column {column}: {}{notes}", one_line(&label.message))
}

fn finish(result: Result<Vec<u8>, String>) -> u32 {
    let (code, output) = match result {
        Ok(output) => (0, output),
        Err(message) => (1, message.into_bytes()),
    };
    OUTPUT.set(output);
    code
}

/// View bytes that the host wrote into memory from `allocate`.
fn given<'a>(start: *const u8, length: usize) -> &'a [u8] {
    // SAFETY: the host passes memory from `allocate`, which is never released.
    unsafe { std::slice::from_raw_parts(start, length) }
}

/// View a string of the host, which encodes it itself.
fn given_text<'a>(start: *const u8, length: usize) -> Result<&'a str, String> {
    std::str::from_utf8(given(start, length)).map_err(text)
}

#[unsafe(no_mangle)]
pub extern "C" fn allocate(length: usize) -> *mut u8 {
    Box::leak(vec![0; length].into_boxed_slice()).as_mut_ptr()
}

#[unsafe(no_mangle)]
pub extern "C" fn encode(
    interface: *const u8,
    interface_length: usize,
    method: *const u8,
    method_length: usize,
    arguments: *const u8,
    arguments_length: usize,
) -> u32 {
    let work = || {
        let interface = given_text(interface, interface_length)?;
        let method = given_text(method, method_length)?;
        encoded(interface, method, given_text(arguments, arguments_length)?)
    };
    finish(work())
}

#[unsafe(no_mangle)]
pub extern "C" fn decode(
    interface: *const u8,
    interface_length: usize,
    method: *const u8,
    method_length: usize,
    reply: *const u8,
    reply_length: usize,
) -> u32 {
    let work = || {
        let interface = given_text(interface, interface_length)?;
        let method = given_text(method, method_length)?;
        decoded(interface, method, given(reply, reply_length))
    };
    finish(work())
}

#[unsafe(no_mangle)]
pub extern "C" fn output() -> *const u8 {
    OUTPUT.with_borrow(|output| output.as_ptr())
}

#[unsafe(no_mangle)]
pub extern "C" fn output_length() -> usize {
    OUTPUT.with_borrow(Vec::len)
}
