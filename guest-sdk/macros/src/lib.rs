//! The attribute `#[function]` of guest-sdk.
//!
//! It leaves the function as it is and puts the component's export beside it. Natively only the types
//! are checked, so that a wrong signature fails in `cargo check` already. It decides nothing at run time.

#![forbid(unsafe_code)]

use proc_macro::TokenStream;
use quote::quote;
use syn::spanned::Spanned;
use syn::{ItemFn, ReturnType, parse_macro_input};

/// Makes a plain function the component's handler; `edgebus_sdk::function` documents it.
#[proc_macro_attribute]
pub fn function(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let function = parse_macro_input!(item as ItemFn);
    let arguments = proc_macro2::TokenStream::from(arguments);
    match expand(&arguments, &function) {
        Ok(tokens) => tokens.into(),
        Err(error) => {
            let error = error.to_compile_error();
            quote!(#function #error).into()
        }
    }
}

fn expand(
    arguments: &proc_macro2::TokenStream,
    function: &ItemFn,
) -> Result<proc_macro2::TokenStream, syn::Error> {
    check(arguments, function)?;
    let name = &function.sig.ident;
    let call = if function.sig.inputs.len() == 1 {
        quote!(|event, _context| #name(event))
    } else {
        quote!(#name)
    };
    Ok(quote! {
        #function

        const _: () = {
            fn __run(
                event: ::edgebus_sdk::Event<::edgebus_sdk::Payload>,
                context: ::edgebus_sdk::Context,
            ) -> ::core::result::Result<::std::vec::Vec<::edgebus_sdk::Emit>, ::edgebus_sdk::Failure> {
                ::edgebus_sdk::__private::run(event, context, #call)
            }
            #[cfg(not(target_family = "wasm"))]
            const _: fn(
                ::edgebus_sdk::Event<::edgebus_sdk::Payload>,
                ::edgebus_sdk::Context,
            ) -> ::core::result::Result<::std::vec::Vec<::edgebus_sdk::Emit>, ::edgebus_sdk::Failure> = __run;

            #[cfg(target_family = "wasm")]
            struct __Function;
            #[cfg(target_family = "wasm")]
            impl ::edgebus_sdk::__private::bindings::exports::edgebus::function::handler::Guest for __Function {
                fn handle(
                    event: ::edgebus_sdk::__private::bindings::edgebus::function::types::Event,
                    context: ::edgebus_sdk::__private::bindings::edgebus::function::types::Context,
                ) -> ::core::result::Result<
                    ::std::vec::Vec<::edgebus_sdk::__private::bindings::edgebus::function::types::NewEvent>,
                    ::edgebus_sdk::__private::bindings::edgebus::function::types::Failure,
                > {
                    ::edgebus_sdk::__private::handle(event, context, __run)
                }
            }
            #[cfg(target_family = "wasm")]
            ::edgebus_sdk::__private::export_function!(
                __Function with_types_in ::edgebus_sdk::__private::bindings
            );
        };
    })
}

fn check(arguments: &proc_macro2::TokenStream, function: &ItemFn) -> Result<(), syn::Error> {
    let error = |span: proc_macro2::Span, message: &str| Err(syn::Error::new(span, message));
    let signature = &function.sig;
    if !arguments.is_empty() {
        return error(arguments.span(), "`#[function]` takes no arguments");
    }
    if let Some(keyword) = &signature.asyncness {
        return error(
            keyword.span(),
            "a function of the bus is not async: every call to the host returns when it is done",
        );
    }
    if !signature.generics.params.is_empty() {
        return error(
            signature.generics.span(),
            "a function of the bus has no generic parameters: name the type, as in `Event<Order>`",
        );
    }
    if !matches!(signature.inputs.len(), 1 | 2) {
        return error(
            signature.inputs.span(),
            "a function of the bus takes an `Event<T>`, and a `Context` behind it if it wants one",
        );
    }
    if matches!(signature.output, ReturnType::Default) {
        return error(
            signature.span(),
            "a function of the bus returns `Result<Vec<Emit>, Failure>` or `Result<(), Failure>`",
        );
    }
    Ok(())
}
