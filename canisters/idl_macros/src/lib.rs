//! `#[derive(Idl)]` and the attributes that export methods of a canister.

mod export;
mod idl;

use proc_macro::TokenStream;
use syn::parse_macro_input;

/// Derive `datanode_idl::Idl` for a record or a variant; names are those of `#[serde(rename)]`.
#[proc_macro_derive(Idl)]
pub fn derive(input: TokenStream) -> TokenStream {
    idl::derive(parse_macro_input!(input)).unwrap_or_else(|error| error.into_compile_error()).into()
}

/// Export a function as an update.
#[proc_macro_attribute]
pub fn update(_: TokenStream, item: TokenStream) -> TokenStream {
    export::method("update", parse_macro_input!(item)).into()
}

/// Export a function as a query.
#[proc_macro_attribute]
pub fn query(_: TokenStream, item: TokenStream) -> TokenStream {
    export::method("query", parse_macro_input!(item)).into()
}

/// Export a function as what the system calls to install the canister.
#[proc_macro_attribute]
pub fn init(_: TokenStream, item: TokenStream) -> TokenStream {
    export::method("init", parse_macro_input!(item)).into()
}
