//! Write functions for edgebus: one attribute on a plain function over a typed event.
//!
//! A function takes one event and returns the events that it emits, or a [`Failure`] that says whether
//! another attempt makes sense. It runs in a sandbox, in a fresh instance for each attempt. To keep data
//! between events, use [`state`]. Its changes take effect only if the attempt succeeds. The emitted events,
//! the changes of state and the completion of the delivery are one transaction.
//!
//! # A whole function, with its test
//!
//! ```
//! use edgebus_sdk::{Emit, Event, Failure, config, function, log, state};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Deserialize)]
//! struct Order {
//!     customer: String,
//!     cents: i64,
//! }
//!
//! #[derive(Serialize, Deserialize, PartialEq, Debug)]
//! struct Total {
//!     customer: String,
//!     cents: i64,
//! }
//!
//! #[function]
//! fn handle(event: Event<Order>) -> Result<Vec<Emit>, Failure> {
//!     let order = event.data;
//!     if order.cents < 0 {
//!         return Err(Failure::reject("an order costs something"));
//!     }
//!     let cents = state::increment(&format!("total/{}", order.customer), order.cents);
//!     log::info!("{} now stands at {cents} cents", order.customer);
//!     let kind = config::get("TYPE").unwrap_or_else(|| "com.example.total".to_owned());
//!     Ok(vec![Emit::new(kind).json(&Total { customer: order.customer, cents })?])
//! }
//!
//! # #[cfg(not(target_family = "wasm"))]
//! # fn main() {
//! // In a `#[test]`; no bus and no WebAssembly are needed:
//! use edgebus_sdk::testing::{self, Harness};
//!
//! let harness = Harness::new().config("TYPE", "com.example.sum");
//! let event = || testing::event("com.example.order", Order { customer: "ada".to_owned(), cents: 250 });
//! handle(event()).expect("the order is fine");
//! let emitted = handle(event()).expect("the order is fine");
//!
//! assert_eq!(harness.state("total/ada"), Some(b"500".to_vec()));
//! assert_eq!(emitted[0].kind, "com.example.sum");
//! assert_eq!(emitted[0].data_as::<Total>().unwrap().cents, 500);
//! assert_eq!(harness.output(), "INFO ada now stands at 250 cents\nINFO ada now stands at 500 cents\n");
//! # }
//! # #[cfg(target_family = "wasm")]
//! # fn main() {}
//! ```
//!
//! `Cargo.toml` needs `crate-type = ["cdylib", "rlib"]` in `[lib]`. Then
//! `cargo build --release --target wasm32-wasip2` makes the component, and `cargo test` runs the tests.
//!
//! # What happens at the edges
//!
//! If the data doesn't decode into the event's type, the result is a [`Failure::reject`] that names the
//! field, the line and the column, because another attempt would not help. Take
//! [`Event<serde_json::Value>`](Event) for JSON of any shape, and [`Event<Raw>`](Raw) for the bytes as they
//! were published. After a panic the bus makes another attempt. The message of the panic is in the attempt's
//! output.
//!
//! Every `?` on a [`std::error::Error`] becomes a [`Failure::retry`]. Use [`Failure::reject`] if another
//! attempt would not help.

#![forbid(unsafe_code)]

pub mod config;
mod context;
mod emit;
mod event;
mod failure;
mod host;
pub mod log;
pub mod metrics;
pub mod replay;
pub mod secrets;
pub mod state;
#[cfg(not(target_family = "wasm"))]
pub mod testing;

pub use context::Context;
pub use emit::{Emit, IntoEmits};
pub use event::{Event, FromData, Payload, Raw};
pub use failure::Failure;

/// Makes a function the handler of the component.
///
/// The function takes an [`Event`], and optionally a [`Context`]. It returns a `Result` of a [`Failure`] or
/// anything that implements [`IntoEmits`]: `()`, one [`Emit`], an `Option` or a `Vec` of them. It stays an
/// ordinary function, so tests can call it. A crate can have one.
pub use edgebus_sdk_macros::function;

/// Used by the expansion of the attribute. Not part of the public interface.
#[doc(hidden)]
pub mod __private {
    pub use crate::event::run;
    #[cfg(target_family = "wasm")]
    pub use crate::host::guest::{bindings, export_function, handle};
}
