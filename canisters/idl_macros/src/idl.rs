//! The shape of a record or a variant, and how it is written and read.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Attribute, Data, DeriveInput, Error, Fields, FieldsNamed, Ident, LitStr, Result, Type};

/// Return the hash that stands for a name in a message.
fn hash(name: &str) -> u32 {
    name.bytes().fold(0, |hash: u32, byte| hash.wrapping_mul(223).wrapping_add(byte.into()))
}

/// Return the name under which something travels.
fn name(ident: &Ident, attributes: &[Attribute]) -> Result<String> {
    let mut name = ident.to_string();
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("serde")) {
        attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("rename") {
                return Err(meta.error("only `rename` is known"));
            }
            name = meta.value()?.parse::<LitStr>()?.value();
            Ok(())
        })?;
    }
    Ok(name)
}

/// Fields with the hashes of their names, in the order of a message.
fn sorted(fields: &FieldsNamed) -> Result<Vec<(u32, &Ident, &Type)>> {
    let mut sorted = Vec::new();
    for field in &fields.named {
        let Some(ident) = &field.ident else { continue };
        sorted.push((hash(&name(ident, &field.attrs)?), ident, &field.ty));
    }
    sorted.sort_by_key(|(hash, ..)| *hash);
    Ok(sorted)
}

/// Code for the fields of a record: shape, names, and reading.
fn record(fields: &FieldsNamed) -> Result<(TokenStream, Vec<&Ident>, TokenStream)> {
    let fields = sorted(fields)?;
    let (hashes, names): (Vec<_>, Vec<_>) =
        fields.iter().map(|(hash, name, _)| (*hash, *name)).unzip();
    let types = fields.iter().map(|(.., field_type)| field_type);
    let shape = quote! {
        ::datanode_idl::Shape::Record(
            &[#((#hashes, &<#types as ::datanode_idl::Idl>::SHAPE)),*]
        )
    };
    let read = quote!(#(let #names = ::datanode_idl::Idl::read(items);)*);
    Ok((shape, names, read))
}

/// Derive `Idl`.
pub fn derive(input: DeriveInput) -> Result<TokenStream> {
    let of = &input.ident;
    let (shape, write, read) = match &input.data {
        Data::Struct(data) => {
            let Fields::Named(fields) = &data.fields else {
                return Err(Error::new_spanned(of, "a record has names"));
            };
            let (shape, names, read) = record(fields)?;
            let write = quote!(#(::datanode_idl::Idl::write(&self.#names, message);)*);
            (shape, write, quote!(#read Self { #(#names),* }))
        }
        Data::Enum(data) => variant(data)?,
        Data::Union(_) => return Err(Error::new_spanned(of, "a union has no shape")),
    };
    Ok(quote! {
        impl ::datanode_idl::Idl for #of {
            const SHAPE: ::datanode_idl::Shape = #shape;

            fn write(&self, message: &mut Vec<u8>) {
                #write
            }

            fn read(items: &mut ::datanode_idl::Items<'_>) -> Self {
                #read
            }
        }
    })
}

/// Code for a variant: shape, writing and reading.
fn variant(data: &syn::DataEnum) -> Result<(TokenStream, TokenStream, TokenStream)> {
    let mut cases = Vec::new();
    for case in &data.variants {
        cases.push((hash(&name(&case.ident, &case.attrs)?), case));
    }
    cases.sort_by_key(|(hash, _)| *hash);
    let (mut shapes, mut writes, mut reads) = (Vec::new(), Vec::new(), Vec::new());
    for (at, (hash, case)) in cases.iter().enumerate() {
        let (ident, number) = (&case.ident, at as u8);
        let (shape, write, read) = match &case.fields {
            Fields::Unit => (
                quote!(::datanode_idl::Shape::NULL),
                quote!(Self::#ident => message.push(#number)),
                quote!(Self::#ident),
            ),
            Fields::Unnamed(fields) if fields.unnamed.len() == 1 => {
                let inner = &fields.unnamed[0].ty;
                (
                    quote!(<#inner as ::datanode_idl::Idl>::SHAPE),
                    quote!(Self::#ident(value) => {
                        message.push(#number);
                        ::datanode_idl::Idl::write(value, message);
                    }),
                    quote!(Self::#ident(::datanode_idl::Idl::read(items))),
                )
            }
            Fields::Named(fields) => {
                let (shape, names, read) = record(fields)?;
                (
                    shape,
                    quote!(Self::#ident { #(#names),* } => {
                        message.push(#number);
                        #(::datanode_idl::Idl::write(#names, message);)*
                    }),
                    quote!({ #read Self::#ident { #(#names),* } }),
                )
            }
            Fields::Unnamed(_) => return Err(Error::new_spanned(ident, "a case has one value")),
        };
        shapes.push(quote!((#hash, &#shape)));
        writes.push(write);
        let pattern = if at + 1 == cases.len() { quote!(_) } else { quote!(#at) };
        reads.push(quote!(#pattern => #read));
    }
    Ok((
        quote!(::datanode_idl::Shape::Variant(&[#(#shapes),*])),
        quote!(match self { #(#writes),* }),
        quote!(match items.number() as usize { #(#reads),* }),
    ))
}
