//! The requests and answers of the HTTP API: one struct for each, with its JSON and its JSON Schema.
//!
//! The bus writes these structs, the command line and the client read them, and `/openapi.json` takes its
//! schemas from them. Each field's comment is its description there.
//!
//! What an older reader does with a newer answer is decided once: it passes over members that it does not
//! know, and a word that it does not know is the variant `Other` of its enum. A request with an unknown member
//! is refused. Data of events stays the publisher's bytes.
//!
//! Never here: what the API does, types of the engine, I/O.

#![forbid(unsafe_code)]

mod delivery;
mod erasure;
mod event;
mod function;
mod job;
mod listing;
mod manifest;
mod problem;
mod query;
mod replay;
mod rule;
pub mod schema;
mod shadow;
mod subscription;
mod target;
mod verdict;
mod words;

pub use delivery::{Attempt, AttemptEnded, DeadLetterPage, Delivery, DeliveryPage};
pub use erasure::{Erased, ErasedRange, ErasureCount, ErasureRequest};
pub use event::{
    Accepted, AcceptedBatch, AcceptedEach, Attribute, BATCH_EVENTS_MAX, Event, EventKey, EventPage,
    Refused, Settled, StoredEvent,
};
pub use function::{Function, FunctionLimits, FunctionList, Trial, Version, WouldEmit, WouldWrite};
pub use job::{
    Job, JobChange, JobPage, JobResults, LETTERS_NAMED_MAX, LetterPreview, LetterSelection,
    RATE_MAX, ReplayedRange, SelectedLetters, Skip, SkippedRange,
};
pub use listing::{Listing, Rows};
pub use manifest::{ManifestEnvelope, Plan, PlannedChange};
pub use problem::{InputError, Problem};
pub use query::{
    ApplyQuery, DeadLetterQuery, DeliveryFilter, DeliveryQuery, DeliveryStreamQuery, EVERY_MAX,
    ErasureQuery, EventQuery, EventStreamQuery, ExplainQuery, InvokeQuery, JobQuery, LetterQuery,
    NoQuery, PAGE_ROWS_DEFAULT, PAGE_ROWS_MAX, ReadyQuery, ReplayQuery,
};
pub use replay::{ReplayCount, ReplayCountOf, ReplayRequest, Seek, SeekRequest};
pub use rule::{FILTERS_MAX, Filters, RetryPolicy, Rule, RuleList, RuleTest, Target};
pub use shadow::{Shadow, ShadowDifference, ShadowEvent, ShadowReport, ShadowRequest, ShadowRun};
pub use subscription::{SinceStart, Subscription, SubscriptionList};
pub use target::TargetName;
pub use verdict::{
    BranchExplanation, ConditionExplanation, ExplainedEvent, Explanation, FilterVerdict,
    InputVerdict, RuleTrial, RuleVerdict,
};
pub use words::{
    ChangeKind, ChangedThing, DeadReason, DiscardReason, FunctionState, JobKind, JobState, Outcome,
    ProblemType, ReplayPurpose, ShadowAspect, ShadowReference, Situation, SkipReason, Stage,
};

/// The bus that events go to where none is named.
pub const DEFAULT_BUS: &str = "default";

#[cfg(test)]
mod tests;
