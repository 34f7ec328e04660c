//! The implementation for components: generated bindings to the world in `wit/`, and conversions for the
//! handler.

use std::io::Write as _;

use bindings::edgebus::function::types;

use crate::{Context, Emit, Event, Failure, Payload};

/// The generated bindings.
#[doc(hidden)]
#[allow(missing_docs, clippy::all, clippy::mem_forget, reason = "generated")]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../wit",
        world: "function",
        pub_export_macro: true,
        export_macro_name: "export_function",
        default_bindings_module: "edgebus_sdk::__private::bindings",
    });
}

#[doc(hidden)]
pub use bindings::export_function;

/// Calls `function` with the bus's event in this crate's types, and returns its result in the bus's types.
#[doc(hidden)]
pub fn handle(
    event: types::Event,
    context: types::Context,
    function: impl FnOnce(Event<Payload>, Context) -> Result<Vec<Emit>, Failure>,
) -> Result<Vec<types::NewEvent>, types::Failure> {
    let ended = function(event_in(event), context_in(context));
    // Text without a line end is in a buffer that is lost with the instance. Output that can't be written is
    // no reason to fail.
    let _ = std::io::stdout().flush();
    match ended {
        Ok(emits) => Ok(emits.into_iter().map(emit_out).collect()),
        Err(failure) => Err(failure_out(failure)),
    }
}

fn event_in(event: types::Event) -> Event<Payload> {
    Event {
        id: event.id,
        source: event.source,
        kind: event.type_,
        subject: event.subject,
        time: event.time,
        data_content_type: event.data_content_type,
        data_schema: event.data_schema,
        extensions: event.extensions,
        data: match event.data {
            None => Payload::Absent,
            Some(types::Data::Json(bytes)) => Payload::Json(bytes),
            Some(types::Data::Opaque(bytes)) => Payload::Opaque(bytes),
        },
    }
}

fn context_in(context: types::Context) -> Context {
    Context {
        delivery: context.delivery,
        idempotency_key: context.idempotency_key,
        attempt: context.attempt,
        function: context.function,
        rule: context.rule,
        bus: context.bus,
        position: context.position,
        accepted_at_ms: context.accepted_at_ms,
    }
}

fn emit_out(emit: Emit) -> types::NewEvent {
    types::NewEvent {
        type_: emit.kind,
        bus: emit.bus,
        source: emit.source,
        subject: emit.subject,
        data_content_type: emit.data_content_type,
        extensions: emit.extensions,
        data: emit.data,
    }
}

fn failure_out(failure: Failure) -> types::Failure {
    match failure {
        Failure::Retry { after, message } => types::Failure::Retry(types::Retry {
            after_ms: after.map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX)),
            message,
        }),
        Failure::Reject { message } => types::Failure::Reject(message),
    }
}
