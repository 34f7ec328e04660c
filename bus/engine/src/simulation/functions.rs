//! The runtime of the simulation: a component is a function of the plan, and a seed decides what each of its
//! attempts does.
//!
//! A function tells the ledger when an attempt begins and ends. What it wants depends on the delivery and
//! the attempt's number alone, so that an attempt that runs again after a crash does the same; what `books` makes
//! of that depends on the state, too.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::books::{Keeper, refused};
use super::ledger::Ledger;
use super::plan::FunctionPlan;
use super::random::Random;
use crate::clock::Clock;
use crate::pipeline::in_shadow;
use edgebus_model::{Digest, Outcome, TimeoutKind};
use edgebus_runtime::capabilities::Capabilities;
use edgebus_runtime::error::{Error, Kind};
use edgebus_runtime::{Call, Emitted, Function, Invocation, Invoked, Runtime};

/// The state key that functions count under.
pub(super) const COUNTED: &[u8] = b"n";

/// The runtime of one life.
pub(super) struct Functions {
    pub(super) seed: u64,
    pub(super) clock: Clock,
    pub(super) ledger: Ledger,
    pub(super) functions: Vec<FunctionPlan>,
    /// Compilations that failed so far, by function.
    pub(super) failed: Mutex<BTreeMap<String, u32>>,
    /// True in the quiet end: nothing kills the process or fails for ever.
    pub(super) quiet: bool,
    /// Set by whoever kills the process.
    pub(super) killed: Arc<AtomicBool>,
}

/// The component of a function, as its plan's manifest `version` deploys it.
pub(super) fn component(function: &FunctionPlan, version: u64) -> Bytes {
    Bytes::from(format!("{} {}", function.name, version / 2))
}

impl Runtime for Functions {
    fn prepare(
        &self,
        _digest: Digest,
        component: Bytes,
    ) -> Call<'_, Result<Arc<dyn Function>, Error>> {
        Box::pin(async move {
            let text = String::from_utf8_lossy(&component);
            let name = text.split(' ').next().unwrap_or_default();
            let plan = self.functions.iter().find(|own| own.name == name);
            let plan =
                plan.ok_or_else(|| Error::new(Kind::Invalid, "no function has that name"))?;
            self.clock.sleep(Duration::from_millis(3)).await;
            if !self.quiet {
                let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
                let failed = failed.entry(plan.name.clone()).or_default();
                if *failed < plan.uncompiled {
                    *failed += 1;
                    return Err(Error::new(Kind::Host, "planned: it does not compile now"));
                }
            }
            Ok(Arc::new(Own {
                plan: plan.clone(),
                seed: self.seed,
                clock: self.clock.clone(),
                ledger: self.ledger.clone(),
                quiet: self.quiet,
                killed: self.killed.clone(),
            }) as Arc<dyn Function>)
        })
    }
}

struct Own {
    plan: FunctionPlan,
    seed: u64,
    clock: Clock,
    ledger: Ledger,
    quiet: bool,
    killed: Arc<AtomicBool>,
}

/// What an attempt does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Act {
    Succeed,
    Fail,
    Reject,
    Hang,
    Panic,
    Kill,
}

impl Own {
    /// Random numbers of a delivery's attempt.
    fn random(&self, delivery: &str, number: u32) -> Random {
        let mut hash = self.seed ^ u64::from(number);
        for byte in delivery.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        }
        Random::new(hash)
    }

    /// What the attempt of this number does, and how long it sleeps before, in milliseconds.
    fn act(&self, delivery: &str, number: u32) -> (Act, Option<u64>) {
        let mut random = self.random(delivery, number);
        let mix = self.plan.mix;
        let sleeps = (random.below(100) < mix.slow).then(|| random.below(120));
        let mut drawn = random.below(100);
        for (share, act) in [
            (mix.fail, Act::Fail),
            (mix.reject, Act::Reject),
            (mix.hang, Act::Hang),
            (mix.panic, Act::Panic),
            (mix.kill, Act::Kill),
        ] {
            if drawn < share {
                let harmless = self.quiet && act == Act::Kill;
                return (if harmless { Act::Fail } else { act }, sleeps);
            }
            drawn -= share;
        }
        (Act::Succeed, sleeps)
    }

    async fn run(
        &self,
        invocation: &Invocation,
        capabilities: &mut Capabilities<'_>,
        said: &mut String,
    ) -> Result<Vec<Emitted>, Outcome> {
        let context = &invocation.context;
        let (act, sleeps) = self.act(&context.delivery, context.attempt);
        let live = !in_shadow();
        if self.plan.books {
            let mut keeper = Keeper {
                clock: &self.clock,
                ledger: &self.ledger,
                state: &mut capabilities.state,
                said: &mut *said,
                // All attempts of a delivery want the same.
                random: self.random(&context.delivery, 0),
            };
            keeper.keep(context.position).await?;
        }
        if self.plan.counts {
            let counted = capabilities.state.increment(COUNTED, 1).await;
            let before = counted.map_err(refused)? - 1;
            said.push_str(&format!("get n {before}\n"));
        }
        if let Some(ms) = sleeps {
            self.clock.sleep(Duration::from_millis(ms)).await;
        }
        let message = || format!("attempt {}", context.attempt);
        match act {
            Act::Succeed => {}
            Act::Fail => {
                let (after_ms, message) = (None, message());
                return Err(Outcome::Retry { after_ms, message });
            }
            Act::Reject => return Err(Outcome::Reject { message: message() }),
            Act::Hang => self.clock.sleep(Duration::from_secs(3_600)).await,
            Act::Panic => {
                if live {
                    self.ledger
                        .seen()
                        .attempt_ends(&context.delivery, &self.plan.name, false);
                }
                std::panic::resume_unwind(Box::new("planned"));
            }
            // A shadow replay would kill each life that it goes on in.
            Act::Kill if !live => return Err(Outcome::Reject { message: message() }),
            Act::Kill => {
                self.killed.store(true, Ordering::SeqCst);
                std::future::pending::<()>().await;
            }
        }
        let emitted = self.plan.emits.clone().map(|kind| Emitted {
            kind,
            data: Some(Bytes::from(context.position.to_string())),
            ..Emitted::default()
        });
        Ok(emitted.into_iter().collect())
    }
}

impl Function for Own {
    fn invoke<'a>(
        &'a self,
        invocation: Invocation,
        capabilities: &'a mut Capabilities<'_>,
    ) -> Call<'a, Invoked> {
        Box::pin(async move {
            let began = self.clock.instant();
            let context = &invocation.context;
            let live = !in_shadow();
            if live {
                self.ledger.seen().attempt_begins(
                    &context.delivery,
                    &self.plan.name,
                    context.attempt,
                    &context.idempotency_key,
                    self.clock.now(),
                );
            }
            let limit_ms = invocation.limits.timeout_ms_max;
            let mut said = String::new();
            let work = self.run(&invocation, capabilities, &mut said);
            let limit = Duration::from_millis(limit_ms);
            let (outcome, emitted) = match self.clock.timeout(limit, work).await {
                Some(Ok(emitted)) => (Outcome::Success, emitted),
                Some(Err(outcome)) => (outcome, Vec::new()),
                None => {
                    let kind = TimeoutKind::Wall;
                    (Outcome::Timeout { kind, limit_ms }, Vec::new())
                }
            };
            let success = outcome.is_success();
            if live {
                self.ledger
                    .seen()
                    .attempt_ends(&context.delivery, &self.plan.name, success);
            }
            Invoked {
                outcome,
                emitted,
                output: said,
                duration: self.clock.instant().saturating_duration_since(began),
            }
        })
    }
}
