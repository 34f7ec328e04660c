//! Words that answers use: each enum has the words of this release, and `Other` for a word of a newer one.
//!
//! `Other` is why a client that is older than its bus reads every answer. It is not in the schemas.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Deserializer;
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

macro_rules! words {
    ($(
        $(#[doc = $about:literal])+
        $name:ident {
            $($(#[doc = $words:literal])+ $variant:ident = $word:literal,)+
        }
    )+) => {$(
        $(#[doc = $about])+
        #[derive(Clone, PartialEq, Eq, Hash, Debug)]
        pub enum $name {
            $($(#[doc = $words])+ $variant,)+
            /// A word that this release does not know.
            Other(String),
        }

        impl $name {
            /// The words of this release.
            pub const WORDS: &'static [&'static str] = &[$($word),+];

            /// The word as it is written.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $word,)+
                    Self::Other(word) => word,
                }
            }
        }

        impl From<&str> for $name {
            fn from(word: &str) -> Self {
                match word {
                    $($word => Self::$variant,)+
                    other => Self::Other(other.to_owned()),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.pad(self.as_str())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let word = Cow::<'de, str>::deserialize(deserializer)?;
                Ok(Self::from(word.as_ref()))
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "type": "string",
                    "enum": Self::WORDS,
                    "description": concat!($($about, "\n"),+).trim(),
                })
            }
        }
    )+};
}

words! {
    /// Where a delivery is in its life.
    Stage {
        /// It has more attempts to come.
        Pending = "pending",
        /// It ended in success.
        Succeeded = "succeeded",
        /// It ended without success: a dead letter.
        Dead = "dead",
        /// It ended without success, and a job let go of it.
        Discarded = "discarded",
    }

    /// How a delivery was let go of.
    DiscardReason {
        /// It was a dead letter, and somebody purged it.
        Purged = "purged",
        /// It was pending, and its subscription was moved forward.
        Skipped = "skipped",
        /// It was pending, and its event was erased.
        Erased = "erased",
    }

    /// What a job does.
    JobKind {
        /// It makes dead letters pending again.
        Redrive = "redrive",
        /// It lets go of dead letters.
        Purge = "purge",
        /// It delivers events again.
        Replay = "replay",
        /// It ends live deliveries without an attempt.
        Skip = "skip",
        /// It erases events.
        Erase = "erase",
        /// It runs functions again without effects, and tells what differs.
        Shadow = "shadow",
    }

    /// What runs in shadow are compared with.
    ShadowReference {
        /// What is recorded of the deliveries. State that was written is not.
        Then = "then",
        /// The deployed function, which runs beside the candidate on the same state.
        Deployed = "deployed",
    }

    /// In what two runs differ.
    ShadowAspect {
        /// How they ended.
        Outcome = "outcome",
        /// The events that they emitted.
        Emitted = "emitted",
        /// The state that they wrote.
        State = "state",
    }

    /// Who asked for a replay.
    ReplayPurpose {
        /// Somebody did.
        Replay = "replay",
        /// A subscription was moved back.
        Seek = "seek",
        /// A new rule begins in the past.
        Start = "start",
    }

    /// Where a job stands.
    JobState {
        /// It moves.
        Running = "running",
        /// It stands still until it is resumed.
        Paused = "paused",
        /// It came to its end.
        Done = "done",
        /// Somebody ended it.
        Cancelled = "cancelled",
        /// It can't go on.
        Failed = "failed",
    }

    /// Why a job passed something over.
    SkipReason {
        /// It is gone, or something else happened to it meanwhile.
        Gone = "gone",
        /// Its event can't be read, so that there is nothing to run on.
        Corrupt = "corrupt",
        /// Its subscription left the manifest.
        SubscriptionEnded = "subscription-ended",
        /// The function of its subscription is not deployed.
        FunctionMissing = "function-missing",
        /// Retention removed the event before the job came to it.
        Removed = "removed",
        /// Its event was erased.
        Erased = "erased",
    }

    /// How an attempt ended.
    Outcome {
        /// The function returned success.
        Success = "success",
        /// The function asked to be tried again.
        Retry = "retry",
        /// The function said that trying again is useless.
        Reject = "reject",
        /// The function trapped.
        Trap = "trap",
        /// A time limit ended it.
        Timeout = "timeout",
        /// The function wanted more memory than it may have.
        Memory = "memory",
        /// The function went over another of its limits.
        Limit = "limit",
        /// State that it read was changed by another attempt.
        Conflict = "conflict",
        /// It could not be made, or the process died during it.
        Host = "host",
    }

    /// Why a delivery is a dead letter.
    DeadReason {
        /// The function rejected the event.
        Rejected = "rejected",
        /// The policy's attempts are used up.
        AttemptsExhausted = "attempts-exhausted",
        /// It grew older than the policy allows.
        AgeExceeded = "age-exceeded",
        /// The chain of functions that emit to each other is too long.
        HopLimit = "hop-limit",
        /// Too many events descend from one published event.
        FanOutLimit = "fan-out-limit",
        /// The function was removed.
        FunctionMissing = "function-missing",
        /// The event's record is corrupt.
        Corrupt = "corrupt",
    }

    /// Whether a function can be called; the deliveries of one that can't wait.
    FunctionState {
        /// It can.
        Ready = "ready",
        /// Its component is being compiled.
        Compiling = "compiling",
        /// It can't; `reason` says why.
        Unavailable = "unavailable",
    }

    /// Why the deliveries of a subscription run or don't, at this moment.
    Situation {
        /// Nothing is ready to run.
        Empty = "empty",
        /// The next delivery begins when its turn comes.
        Ready = "ready",
        /// Deliveries are being read from the store.
        Filling = "filling",
        /// The function runs as many attempts as it may.
        BlockedOnFunction = "blocked-on-function",
        /// Attempts of the function run one by one.
        BlockedOnTurn = "blocked-on-turn",
        /// Attempts in flight hold the places.
        BlockedOnWorkers = "blocked-on-workers",
        /// Attempts in flight hold the memory.
        BlockedOnMemory = "blocked-on-memory",
        /// The function has no compiled component.
        Unavailable = "unavailable",
        /// No attempt begins now.
        Paused = "paused",
    }

    /// What happens to a part of the manifest.
    ChangeKind {
        /// It is new.
        Add = "add",
        /// It differs.
        Change = "change",
        /// It is gone.
        Remove = "remove",
    }

    /// Which part of the manifest it happens to.
    ChangedThing {
        /// A bus.
        Bus = "bus",
        /// A function.
        Function = "function",
        /// A rule.
        Rule = "rule",
        /// A subscription.
        Subscription = "subscription",
    }

    /// What went wrong, for programs.
    ProblemType {
        /// The input is wrong; `errors` says where.
        Invalid = "urn:edgebus:problem:invalid",
        /// The connection broke before the body ended.
        BodyBroken = "urn:edgebus:problem:body-broken",
        /// The request is for a name that is not the bus's.
        HostRefused = "urn:edgebus:problem:host-refused",
        /// A web page from elsewhere sent the request.
        OriginRefused = "urn:edgebus:problem:origin-refused",
        /// Not found.
        NotFound = "urn:edgebus:problem:not-found",
        /// No route has this path.
        NoRoute = "urn:edgebus:problem:no-route",
        /// The path has no such method.
        MethodNotAllowed = "urn:edgebus:problem:method-not-allowed",
        /// The body arrived too slowly.
        BodyTimeout = "urn:edgebus:problem:body-timeout",
        /// The request contradicts what is active or stored now.
        Conflict = "urn:edgebus:problem:conflict",
        /// The log ends before the position.
        PositionAhead = "urn:edgebus:problem:position-ahead",
        /// Another version is active than the one that was asked for.
        Changed = "urn:edgebus:problem:changed",
        /// Larger than a limit.
        TooLarge = "urn:edgebus:problem:too-large",
        /// The body's type or encoding is not supported.
        UnsupportedMediaType = "urn:edgebus:problem:unsupported-media-type",
        /// Too many header fields.
        HeadersTooLarge = "urn:edgebus:problem:headers-too-large",
        /// A stored record is corrupt and was not used.
        Corrupt = "urn:edgebus:problem:corrupt",
        /// The transfer coding is not supported.
        TransferCoding = "urn:edgebus:problem:transfer-coding",
        /// The bus is busy.
        Busy = "urn:edgebus:problem:busy",
        /// The bus is starting or stopping.
        Unavailable = "urn:edgebus:problem:unavailable",
        /// The outcome is unknown: repeat with the same source and id.
        Unknown = "urn:edgebus:problem:unknown",
        /// The disk is nearly full.
        StorageFull = "urn:edgebus:problem:storage-full",
    }
}
