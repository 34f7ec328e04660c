//! Injected bugs that the simulation must find. They are active only on the thread that turns them on, and
//! never in a release.

use std::cell::Cell;

/// A bug.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Bug {
    /// Publishers are answered although the commit failed, as if they had been before it.
    AnswerBeforeCommit,
    /// Some messages don't wake the scheduler.
    WakeUpLost,
    /// Some attempts keep their place on a processor after their end.
    WorkerLeaked,
    /// Some attempts keep their memory after their end.
    MemoryLeaked,
    /// A page without deliveries leaves its queue waiting for a page.
    FillingStuck,
    /// Due times are not looked at again after a page of them.
    TimerDead,
    /// What is in memory is taken again from a page.
    DuplicateJob,
    /// A page is read on behind its end.
    PageSkipped,
    /// Some deliveries in memory are not counted off.
    CounterWrong,
    /// A retry that is due while due times are being read is forgotten.
    RetryForgotten,
    /// The turn of a function that runs one by one is never given back.
    TurnKept,
    /// The turn of a function that runs one by one is given back before the settlement.
    TurnEarly,
    /// The next suspect is never let go.
    SuspectStuck,
    /// A retry runs at once, whenever it is due.
    RetryEarly,
    /// Emitted events are stored, and nobody schedules them.
    EmittedForgotten,
    /// A settlement enters the writer's inbox whatever has become of the state that it rests on.
    StateUnchecked,
    /// An attempt reads on although something that it has read was changed.
    StatesMixed,
    /// A pause for want of space never ends.
    PauseForEver,
    /// A job's step is sent twice.
    AdvanceTwice,
    /// Some dead letters that are selected are passed over.
    LetterForgotten,
    /// Some events of a replay are passed over.
    ReplaySkips,
    /// An erasure passes some dead letters' copies of events over.
    CopyForgotten,
    /// What a function emits in shadow goes into the log.
    ShadowLeaks,
    /// Retention takes what is half as old as it may be.
    RemovedEarly,
}

thread_local! {
    static INJECTED: Cell<Option<Bug>> = const { Cell::new(None) };
    static ASKED: Cell<u64> = const { Cell::new(0) };
}

/// Turns a bug on, on this thread, or the one that is on off.
pub(crate) fn inject(bug: Option<Bug>) {
    INJECTED.set(bug);
    ASKED.set(0);
}

/// True if the bug is on.
pub(crate) fn is(bug: Bug) -> bool {
    INJECTED.get() == Some(bug)
}

/// True every so many times that this is asked, if the bug is on.
pub(crate) fn every(times: u64, bug: Bug) -> bool {
    is(bug) && {
        ASKED.set(ASKED.get() + 1);
        ASKED.get().is_multiple_of(times)
    }
}
