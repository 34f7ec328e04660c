//! `edgebus:function/state`: the function's durable key-value state.

use ::wasmtime::Result;

use super::Guest;
use crate::bindings::edgebus::function::state::Host;

impl Host for Guest {
    async fn get(&mut self, key: String) -> Result<Option<Vec<u8>>> {
        let value = self
            .ask(move |own| Box::pin(async move { own.state.get(key.as_bytes()).await }))
            .await?;
        Ok(value.map(Vec::from))
    }

    async fn set(&mut self, key: String, value: Vec<u8>) -> Result<()> {
        self.ask_now(move |own| own.state.set(key.as_bytes(), Some(value.into())))
            .await
    }

    async fn delete(&mut self, key: String) -> Result<()> {
        self.ask_now(move |own| own.state.set(key.as_bytes(), None))
            .await
    }

    async fn list_keys(
        &mut self,
        prefix: String,
        after: Option<String>,
        limit: u32,
    ) -> Result<Vec<String>> {
        let keys = self
            .ask(move |own| {
                Box::pin(async move {
                    let after = after.as_ref().map(String::as_bytes);
                    own.state.keys(prefix.as_bytes(), after, limit).await
                })
            })
            .await?;
        Ok(keys
            .into_iter()
            .map(|key| String::from_utf8_lossy(&key).into_owned())
            .collect())
    }

    async fn compare_and_set(
        &mut self,
        key: String,
        expected: Option<Vec<u8>>,
        new: Option<Vec<u8>>,
    ) -> Result<bool> {
        let (expected, new) = (expected.map(Into::into), new.map(Into::into));
        self.ask(move |own| {
            Box::pin(async move {
                own.state
                    .compare_and_set(key.as_bytes(), expected, new)
                    .await
            })
        })
        .await
    }

    async fn increment(&mut self, key: String, delta: i64) -> Result<i64> {
        self.ask(move |own| {
            Box::pin(async move { own.state.increment(key.as_bytes(), delta).await })
        })
        .await
    }
}
