//! Where the interfaces lead: to the bus inside a component, to this thread's memory in a native test.
//!
//! The file of each capability has both sides of it, under the same names.

#[cfg(target_family = "wasm")]
pub(crate) mod guest;
#[cfg(not(target_family = "wasm"))]
pub(crate) mod native;
