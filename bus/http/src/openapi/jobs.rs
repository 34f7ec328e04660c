//! Jobs, described.

use edgebus_api as api;
use serde_json::json;

use super::operation::{JSON, Operation};
use crate::jobs::BODY_BYTES_MAX;
use crate::problem::Cause;
use crate::serve::Limits;
use edgebus_model::Code;
use edgebus_model::error::Kind;

const NO_JOB: &str = "There is no such job; the last 1,000 that ended are kept.";

fn one(operation: Operation) -> Operation {
    operation
        .path::<u64>("id", "The job's number.", 17)
        .answers_json::<api::Job>(200, "The job.")
        .problem(Cause::Handle(Kind::NotFound), NO_JOB)
}

/// `GET /v1/jobs`.
pub(crate) fn list(_: &Limits) -> Operation {
    Operation::new("listJobs", "jobs", "See jobs, the newest first")
        .about("All that have not ended, and the last 1,000 that have.")
        .query::<api::JobQuery>()
        .answers_json::<api::JobPage>(200, "A page.")
        .reads()
}

/// `GET /v1/jobs/{id}`.
pub(crate) fn get(_: &Limits) -> Operation {
    one(Operation::new(
        "getJob",
        "jobs",
        "See one job: how far it is, and what became of what it did",
    ))
    .reads()
}

/// `PATCH /v1/jobs/{id}`.
pub(crate) fn change(_: &Limits) -> Operation {
    let operation = Operation::new(
        "changeJob",
        "jobs",
        "Pause, resume or cancel a job, or give it another rate",
    )
    .about("A job that is paused or has failed goes on where it is. What a job did before it was cancelled stays. What a replay has pending runs on, unless `discard_pending` lets go of it.")
    .takes_json::<api::JobChange>("What to tell it.", JSON)
    .problem(
        Cause::Handle(Kind::Conflict),
        "The job is done or was cancelled, or too many others have not ended. Or what is to be discarded is no replay's.",
    )
    .problem(
        Cause::UnsupportedMedia,
        "Content-Type is not application/json.",
    );
    one(operation).reads_body().writes()
}

/// A request with a body in JSON that reads and writes.
fn takes(operation: Operation) -> Operation {
    operation
        .problem(
            Cause::UnsupportedMedia,
            "Content-Type is not application/json.",
        )
        .reads_body()
        .reads()
        .writes()
}

/// A request, with a pattern, that begins a job.
fn begins(operation: Operation) -> Operation {
    operation
        .answers_json::<api::Job>(202, "The job, which has begun.")
        .answers_header(
            202,
            "location",
            json!({"type": "string"}),
            "The job's path.",
        )
        .coded_problem(
            Cause::Handle(Kind::Invalid),
            Code::PatternInvalid,
            "The pattern can't be read; each error has its pointer.",
        )
}

fn of_letters(operation: Operation) -> Operation {
    let mut operation = operation;
    let shape = operation.part::<api::LetterPreview>();
    let body = format!("Which dead letters, at most {BODY_BYTES_MAX} bytes.");
    let operation = begins(operation)
        .query::<api::LetterQuery>()
        .takes_json::<api::LetterSelection>(body, JSON)
        .answers(
            200,
            "With `dry_run`: what would be taken now.",
            JSON,
            shape,
            &[("LetterPreview", super::examples::preview())],
        )
        .problem(
            Cause::Handle(Kind::NotFound),
            "There is no such subscription, function or rule.",
        )
        .problem(Cause::Handle(Kind::Conflict), "100 jobs have not ended.");
    takes(operation)
}

/// `POST /v1/dead-letters/redrive`.
pub(crate) fn redrive(_: &Limits) -> Operation {
    of_letters(
        Operation::new(
            "redriveDeadLetters",
            "deliveries",
            "Try dead letters again",
        )
        .about("A job makes each selected dead letter pending, due at once. The delivery keeps its id and its idempotency key; its attempts and its age begin anew, under the policy and the function that are active now. Those that die after this request are not taken. One whose event can't be read, whose subscription left the manifest or whose function is not deployed is skipped and stays."),
    )
}

/// `POST /v1/dead-letters/purge`.
pub(crate) fn purge(_: &Limits) -> Operation {
    of_letters(
        Operation::new(
            "purgeDeadLetters",
            "deliveries",
            "Let go of dead letters",
        )
        .about("A job takes each selected dead letter out, with its attempts and its copy of the event. The delivery is `discarded` then, as long as the log has the event. Nothing brings a dead letter back that was purged."),
    )
}

/// What replays and seeks have in common.
fn delivers(operation: Operation) -> Operation {
    operation
        .query::<api::ReplayQuery>()
        .problem(
            Cause::Handle(Kind::Invalid),
            "A time is in the future, a position is behind the newest event, or the range ends before it begins.",
        )
        .problem(
            Cause::Handle(Kind::Conflict),
            "A position is before the oldest event, which the answer names; or 100 jobs have not ended.",
        )
}

/// `POST /v1/replays`.
pub(crate) fn replay(_: &Limits) -> Operation {
    let most = crate::replays::BODY_BYTES_MAX;
    let mut operation = Operation::new("startReplay", "jobs", "Deliver events of the log again")
        .about("A job makes new deliveries under its number, in the order of the log, at most 1,000 of them pending at a time. Their effects take place once for each event, subscription and replay. The range is fixed with this request. A time before the oldest event begins with the oldest.")
        .takes_json::<api::ReplayRequest>(format!("Which events, and to whom, at most {most} bytes."), JSON);
    let shape = operation.part::<api::ReplayCount>();
    let example = [("ReplayCount", super::examples::replay_count())];
    let operation = begins(operation)
        .answers(
            200,
            "With `dry_run`: what it would deliver.",
            JSON,
            shape,
            &example,
        )
        .problem(
            Cause::Handle(Kind::NotFound),
            "There is no such bus, rule or subscription.",
        );
    takes(delivers(operation))
}

/// `POST /v1/replays/shadow`.
pub(crate) fn shadow(limits: &Limits) -> Operation {
    let most = crate::shadow::body_bytes_max(limits.manifest_bytes_max);
    let operation = Operation::new("startShadow", "jobs", "Run functions again without effects, and see what differs")
        .about("A job runs deliveries of the log again, one at a time, each on today's state and with its effects thrown away: nothing is emitted, written or counted. A candidate runs beside the deployed function, on the same state, and is compared with it; without a candidate the deployed function is compared with what is recorded of each delivery. `GET /v1/jobs/{id}` shows the numbers and the first hundred differences. A candidate's component is checked and compiled first, is kept with the job, and is never deployed.")
        .takes_json::<api::ShadowRequest>(format!("Which deliveries, and what to run, at most {most} bytes."), JSON);
    let operation = begins(operation)
        .coded_problem(
            Cause::Handle(Kind::Invalid),
            Code::ManifestInvalid,
            "The candidate's manifest can't be read; each error has its place.",
        )
        .problem(
            Cause::Handle(Kind::Busy { retry_after_ms: 0 }),
            "Too many components are being compiled.",
        )
        .problem(
            Cause::Handle(Kind::NotFound),
            "There is no such bus, rule, subscription or function.",
        )
        .problem(
            Cause::Handle(Kind::Invalid),
            "A time is in the future, a position is behind the newest event, the range ends before it begins, a candidate is given without a function, or its component is not there or is no function.",
        )
        .problem(
            Cause::Handle(Kind::Conflict),
            "A position is before the oldest event, which the answer names; or 100 jobs have not ended.",
        );
    takes(operation)
}

/// `POST /v1/subscriptions/{name}/seek`.
pub(crate) fn seek(_: &Limits) -> Operation {
    let operation = Operation::new("seekSubscription", "jobs", "Move a subscription back or forward")
        .about("What is pending before the place is skipped: it ends without an attempt, and stays among what is `discarded`. Events from the place on that the subscription got, and whose delivery is no longer pending, are delivered again by a replay. Each of the two is a job; neither is made where there is nothing to do.")
        .path::<String>("name", "The subscription's number, or its name with `%2F` for its `/`.", "3")
        .takes_json::<api::SeekRequest>("Where it goes on.", JSON)
        .answers_json::<api::Seek>(200, "The jobs; with `dry_run` what they would do.")
        .problem(
            Cause::Handle(Kind::NotFound),
            "There is no such subscription, or it left the manifest.",
        );
    takes(delivers(operation))
}

/// `POST /v1/erasures`.
pub(crate) fn erase(_: &Limits) -> Operation {
    let most = crate::erasures::BODY_BYTES_MAX;
    let mut operation = Operation::new("startErasure", "jobs", "Erase the data of events")
        .about("A job replaces the data, the subject and the extensions of each selected event by a mark: in the log, in the copies that dead letters have, and in what the attempts of its deliveries wrote and said. Id, source, type and time stay, and so does its position. Pending deliveries of it end and are `discarded`. The range ends with the newest event at the time of this request; what comes later is not erased. Nothing brings back what was erased.")
        .takes_json::<api::ErasureRequest>(format!("Which events, at most {most} bytes."), JSON);
    let shape = operation.part::<api::ErasureCount>();
    let example = [("ErasureCount", super::examples::erasure_count())];
    let operation = begins(operation)
        .query::<api::ErasureQuery>()
        .answers(
            200,
            "With `dry_run`: what it would erase.",
            JSON,
            shape,
            &example,
        )
        .problem(
            Cause::Handle(Kind::Invalid),
            "Nothing says which events, a time is in the future, a position is behind the newest event, or the range ends before it begins.",
        )
        .problem(Cause::Handle(Kind::NotFound), "There is no such bus.")
        .problem(Cause::Handle(Kind::Conflict), "100 jobs have not ended.");
    takes(operation)
}
