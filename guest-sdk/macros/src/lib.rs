//! The attribute `#[function]` of guest-sdk.
//!
//! It leaves the function as it is and puts the component's export beside it. Natively only the types
//! are checked, so that a wrong signature fails in `cargo check` already. It decides nothing at run time.

#![forbid(unsafe_code)]

use proc_macro::TokenStream;
use quote::quote;
use syn::spanned::Spanned;
use syn::{ItemFn, ReturnType, parse_macro_input};

/// Makes a plain function the component's handler; `guest_sdk::function` documents it.
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
                event: ::guest_sdk::Event<::guest_sdk::Payload>,
                context: ::guest_sdk::Context,
            ) -> ::core::result::Result<::std::vec::Vec<::guest_sdk::Emit>, ::guest_sdk::Failure> {
                ::guest_sdk::__private::run(event, context, #call)
            }
            #[cfg(not(target_family = "wasm"))]
            const _: fn(
                ::guest_sdk::Event<::guest_sdk::Payload>,
                ::guest_sdk::Context,
            ) -> ::core::result::Result<::std::vec::Vec<::guest_sdk::Emit>, ::guest_sdk::Failure> = __run;

            #[cfg(target_family = "wasm")]
            struct __Function;
            #[cfg(target_family = "wasm")]
            impl ::guest_sdk::__private::bindings::exports::edgebus::function::handler::Guest for __Function {
                fn handle(
                    event: ::guest_sdk::__private::bindings::edgebus::function::types::Event,
                    context: ::guest_sdk::__private::bindings::edgebus::function::types::Context,
                ) -> ::core::result::Result<
                    ::std::vec::Vec<::guest_sdk::__private::bindings::edgebus::function::types::NewEvent>,
                    ::guest_sdk::__private::bindings::edgebus::function::types::Failure,
                > {
                    ::guest_sdk::__private::handle(event, context, __run)
                }
            }
            #[cfg(target_family = "wasm")]
            ::guest_sdk::__private::export_function!(
                __Function with_types_in ::guest_sdk::__private::bindings
            );
        };
    })
}

fn check(arguments: &proc_macro2::TokenStream, function: &ItemFn) -> Result<(), syn::Error> {
    let fault = |span: proc_macro2::Span, message: &str| Err(syn::Error::new(span, message));
    let signature = &function.sig;
    if !arguments.is_empty() {
        return fault(arguments.span(), "`#[function]` takes no arguments");
    }
    if let Some(keyword) = &signature.asyncness {
        return fault(
            keyword.span(),
            "a function of the bus is not async: every call to the host returns when it is done",
        );
    }
    if !signature.generics.params.is_empty() {
        return fault(
            signature.generics.span(),
            "a function of the bus has no generic parameters: name the type, as in `Event<Order>`",
        );
    }
    if !matches!(signature.inputs.len(), 1 | 2) {
        return fault(
            signature.inputs.span(),
            "a function of the bus takes an `Event<T>`, and a `Context` behind it if it wants one",
        );
    }
    if matches!(signature.output, ReturnType::Default) {
        return fault(
            signature.span(),
            "a function of the bus returns `Result<Vec<Emit>, Failure>` or `Result<(), Failure>`",
        );
    }
    Ok(())
}
