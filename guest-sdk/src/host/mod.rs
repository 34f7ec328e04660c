//! Where the interfaces lead: to the bus inside a component, to this thread's memory in a native test.
//!
//! Nothing else in this crate knows which of the two it is.

#[cfg(target_family = "wasm")]
pub(crate) mod guest;
#[cfg(not(target_family = "wasm"))]
pub(crate) mod native;

#[cfg(target_family = "wasm")]
pub(crate) use guest::{
    config_get, log, secret_get, state_compare_and_set, state_delete, state_get, state_increment,
    state_list_keys, state_set,
};
#[cfg(not(target_family = "wasm"))]
pub(crate) use native::{
    config_get, log, secret_get, state_compare_and_set, state_delete, state_get, state_increment,
    state_list_keys, state_set,
};
