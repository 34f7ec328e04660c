//! `edgebus:function/state`: the function's durable key-value state.

use ::wasmtime::Result;

use super::{Guest, HostCall, HostReply, Stop, mixed_up};
use crate::bindings::edgebus::function::state::Host;
use edgebus_model::limits::STATE_KEY_BYTES_MAX;

/// Keys in one answer.
const KEYS_MAX: u32 = 1_000;

impl Host for Guest {
    async fn get(&mut self, key: String) -> Result<Option<Vec<u8>>> {
        check(&key)?;
        match self.host_calls.ask(HostCall::Get(key)).await? {
            HostReply::Value(value) => Ok(value.map(Vec::from)),
            _ => Err(mixed_up()),
        }
    }

    async fn set(&mut self, key: String, value: Vec<u8>) -> Result<()> {
        check(&key)?;
        self.write(HostCall::Set(key, Some(value.into()))).await
    }

    async fn delete(&mut self, key: String) -> Result<()> {
        check(&key)?;
        self.write(HostCall::Set(key, None)).await
    }

    async fn list_keys(
        &mut self,
        prefix: String,
        after: Option<String>,
        limit: u32,
    ) -> Result<Vec<String>> {
        let question = HostCall::Keys(prefix, after, limit.min(KEYS_MAX));
        match self.host_calls.ask(question).await? {
            HostReply::Keys(keys) => Ok(keys
                .into_iter()
                .map(|key| String::from_utf8_lossy(&key).into_owned())
                .collect()),
            _ => Err(mixed_up()),
        }
    }

    async fn compare_and_set(
        &mut self,
        key: String,
        expected: Option<Vec<u8>>,
        new: Option<Vec<u8>>,
    ) -> Result<bool> {
        check(&key)?;
        let question = HostCall::Swap(key, expected.map(Into::into), new.map(Into::into));
        match self.host_calls.ask(question).await? {
            HostReply::Swapped(swapped) => Ok(swapped),
            _ => Err(mixed_up()),
        }
    }

    async fn increment(&mut self, key: String, delta: i64) -> Result<i64> {
        check(&key)?;
        match self.host_calls.ask(HostCall::Increment(key, delta)).await? {
            HostReply::Sum(sum) => Ok(sum),
            _ => Err(mixed_up()),
        }
    }
}

impl Guest {
    async fn write(&mut self, question: HostCall) -> Result<()> {
        match self.host_calls.ask(question).await? {
            HostReply::Done => Ok(()),
            _ => Err(mixed_up()),
        }
    }
}

fn check(key: &str) -> Result<()> {
    if (1..=STATE_KEY_BYTES_MAX).contains(&key.len()) {
        return Ok(());
    }
    let message = format!(
        "a state key has 1 to {STATE_KEY_BYTES_MAX} bytes, not {}",
        key.len()
    );
    Err(Stop::Limit(message).into())
}
