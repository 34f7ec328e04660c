//! The test's side: a bus in this thread's memory, so that tests beside each other don't meet.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::log::Level;

/// What a native function finds.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) state: BTreeMap<String, Vec<u8>>,
    pub(crate) config: BTreeMap<String, String>,
    pub(crate) secrets: BTreeMap<String, String>,
    pub(crate) output: String,
}

thread_local! {
    static WORLD: RefCell<World> = RefCell::default();
}

/// Lets `use_it` see and change this thread's bus.
pub(crate) fn with<R>(use_it: impl FnOnce(&mut World) -> R) -> R {
    WORLD.with_borrow_mut(use_it)
}

pub(crate) fn state_get(key: &str) -> Option<Vec<u8>> {
    with(|world| world.state.get(check(key)).cloned())
}

pub(crate) fn state_set(key: &str, value: &[u8]) {
    with(|world| world.state.insert(check(key).to_owned(), value.to_vec()));
}

pub(crate) fn state_delete(key: &str) {
    with(|world| world.state.remove(check(key)));
}

pub(crate) fn state_list_keys(prefix: &str, after: Option<&str>, limit: u32) -> Vec<String> {
    let limit = usize::try_from(limit.min(1_000)).unwrap_or(1_000);
    with(|world| {
        world
            .state
            .keys()
            .filter(|key| key.starts_with(prefix))
            .filter(|key| after.is_none_or(|after| key.as_str() > after))
            .take(limit)
            .cloned()
            .collect()
    })
}

pub(crate) fn state_compare_and_set(
    key: &str,
    expected: Option<&[u8]>,
    new: Option<&[u8]>,
) -> bool {
    if state_get(key).as_deref() != expected {
        return false;
    }
    match new {
        Some(value) => state_set(key, value),
        None => state_delete(key),
    }
    true
}

/// As on the bus, what can't be counted ends the attempt: here by a panic.
pub(crate) fn state_increment(key: &str, delta: i64) -> i64 {
    let sum = state_get(key)
        .map_or(Ok(0), |text| String::from_utf8_lossy(&text).parse::<i64>())
        .ok()
        .and_then(|value| value.checked_add(delta));
    assert!(
        sum.is_some(),
        "state `{key}` is no integer of 64 bits after adding {delta}"
    );
    let sum = sum.unwrap_or_default();
    state_set(key, sum.to_string().as_bytes());
    sum
}

fn check(key: &str) -> &str {
    assert!(
        (1..=512).contains(&key.len()),
        "a state key has 1 to 512 bytes"
    );
    key
}

pub(crate) fn config_get(key: &str) -> Option<String> {
    with(|world| world.config.get(key).cloned())
}

pub(crate) fn secret_get(name: &str) -> Option<String> {
    with(|world| world.secrets.get(name).cloned())
}

pub(crate) fn log(level: Level, message: &str) {
    let level = format!("{level:?}").to_uppercase();
    with(|world| {
        world.output.push_str(&level);
        world.output.push(' ');
        world.output.push_str(message);
        world.output.push('\n');
    });
}
