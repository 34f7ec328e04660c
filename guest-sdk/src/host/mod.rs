//! The host behind the interfaces: the bus in a component, this thread's memory in a native test.
//!
//! Each capability's file has both implementations, under the same names.

#[cfg(target_family = "wasm")]
pub(crate) mod guest;
#[cfg(not(target_family = "wasm"))]
pub(crate) mod native;
