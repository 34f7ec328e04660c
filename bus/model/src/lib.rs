//! The vocabulary: what an event, a rule, a delivery and an outcome are.
//!
//! Every other module uses these types. Nothing here does I/O, awaits, reads a clock or draws a random number,
//! so that everything decided here can be tested as a table.

#![forbid(unsafe_code)]

pub mod code;
pub mod delivery;
pub mod erasure;
pub mod error;
pub mod event;
pub mod function;
pub mod job;
pub mod limits;
pub mod media_type;
pub mod name;
pub mod outcome;
pub mod position;
pub mod progress;
pub mod reading;
pub mod replay;
pub mod retry;
pub mod rule;
pub mod shadow;
pub mod target;
pub mod timestamp;
pub mod uri;

pub use code::Code;
pub use delivery::{
    Attempt, AttemptEnd, DeadLetter, DeadReason, Delivery, DeliveryKey, DiscardReason, Discarded,
    Next, Pending, Redriven, Running, Succeeded,
};
pub use erasure::{EraseSpec, Erased, ErasedCounts};
pub use event::{Attribute, Data, Event, EventError, Lineage};
pub use function::{Digest, FunctionConfig, Revision};
pub use job::{
    Job, JobControl, JobId, JobPlace, JobProgress, JobResult, JobResults, JobSpec, JobState,
    LetterSelection, SkipReason, Skipped,
};
pub use limits::FunctionLimits;
pub use name::{Name, NameError};
pub use outcome::{Outcome, TimeoutKind};
pub use position::{BusId, EventRef, Position, SubscriptionId};
pub use progress::Progress;
pub use reading::ClockReading;
pub use replay::{ReplayPurpose, ReplaySpec, SkipSpec, StartPosition};
pub use retry::{Backoff, RetryPolicy};
pub use rule::{BusConfig, Differing, InputConfig, RuleConfig, Subscription};
pub use shadow::{Candidate, Difference, Ran, ShadowCounts, ShadowReport, ShadowSpec, ShadowTime};
pub use target::{SubscriptionName, SubscriptionNameError, Target, TargetConfig, TargetKind};
pub use timestamp::Timestamp;
