//! Methods: an export that reads arguments, calls the function and writes what it returns.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{Ident, ItemFn};

/// Export a function, and tell crate `candid` of it in tests.
pub fn method(kind: &str, function: ItemFn) -> TokenStream {
    let name = &function.sig.ident;
    let kind_name = Ident::new(kind, name.span());
    let outer = format_ident!("__export_{name}");
    let arguments: Vec<_> =
        (0..function.sig.inputs.len()).map(|at| format_ident!("argument_{at}")).collect();
    let call = quote!(#name(#(#arguments),*));
    let run = quote!(::datanode_storage::export);
    let read = quote!(let (#(#arguments,)*) = #run::arguments(););
    let (export_name, body) = if kind == "init" {
        ("canister_init".into(), quote!(#run::update(|| { #read #call; })))
    } else {
        let body = match function.sig.asyncness {
            None => quote!(#run::#kind_name(|| { #read #run::reply(&#call); })),
            Some(_) => quote!(#run::update_async(|| ::std::boxed::Box::pin(async {
                #read
                #run::reply(&#call.await);
            }))),
        };
        (format!("canister_{kind} {name}"), body)
    };
    quote! {
        #[cfg(target_family = "wasm")]
        #[unsafe(export_name = #export_name)]
        extern "C" fn #outer() {
            #body
        }

        #[cfg_attr(test, ::candid::candid_method(#kind_name))]
        #[cfg_attr(not(target_family = "wasm"), allow(dead_code))]
        #function
    }
}
