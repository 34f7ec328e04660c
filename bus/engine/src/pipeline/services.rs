//! One call of a function: what the bus gives to its capabilities, and what it leaves behind.
//!
//! Attempts and trials call functions in the same way. Nothing of what a call leaves has taken effect when it
//! returns. Never here: what a capability does (`edgebus_runtime::capabilities`), or what becomes of the effects.

use bytes::Bytes;

use super::reading::Reading;
use super::redact::redact;
use super::snapshot::Deployed;
use edgebus_runtime::capabilities::{Capabilities, Effects, Given, state};
use edgebus_runtime::{Call, Function, Invocation, Invoked, ServiceError};

/// Calls `function`, which is the compiled component of `deployed`, with the state that `reading` sees.
pub(super) async fn call(
    deployed: &Deployed,
    function: &dyn Function,
    invocation: Invocation,
    reading: &mut Reading,
) -> (Invoked, Effects) {
    let secrets = deployed.secrets();
    let mut capabilities = Capabilities::new(Given {
        function: &deployed.revision.config,
        secrets: secrets.clone(),
        state: reading,
        kept: &deployed.kept,
        replay: invocation.context.replay.clone(),
    });
    let mut invoked = function.invoke(invocation, &mut capabilities).await;
    redact(&secrets, &mut invoked.output, &mut invoked.outcome);
    (invoked, capabilities.end())
}

impl state::Source for Reading {
    fn get<'a>(&'a mut self, key: &'a [u8]) -> Call<'a, Result<Option<Bytes>, ServiceError>> {
        Box::pin(self.get(key))
    }

    fn keys<'a>(
        &'a mut self,
        prefix: &'a [u8],
        after: Option<&'a [u8]>,
        limit: usize,
        writes: &'a state::Writes,
    ) -> Call<'a, Result<Vec<Vec<u8>>, ServiceError>> {
        Box::pin(self.keys(prefix, after, limit, writes))
    }
}
