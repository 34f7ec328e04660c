//! The other side of the interfaces: the bus in a component, this thread's memory in a native test.
//!
//! The file of each capability has both, under the same names.

#[cfg(target_family = "wasm")]
pub(crate) mod guest;
#[cfg(not(target_family = "wasm"))]
pub(crate) mod native;
