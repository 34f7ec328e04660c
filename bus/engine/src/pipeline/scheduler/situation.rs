//! Why a subscription's deliveries run or don't.

/// A subscription's situation at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Situation {
    /// It has no delivery that could run now.
    Empty,
    /// Its next delivery begins as soon as it is its turn.
    Ready,
    /// Its deliveries are being read from the store, or wait for that.
    Filling,
    /// The function runs as many attempts as it may.
    BlockedOnFunction,
    /// Another attempt of the function must be settled first: they are made one by one.
    BlockedOnTurn,
    /// Attempts of all functions hold the places that this one could have.
    BlockedOnWorkers,
    /// Attempts of all functions hold the memory that this one could have.
    BlockedOnMemory,
    /// The function has no compiled component now.
    Unavailable,
    /// Nothing is attempted now: the bus starts or stops, or the disk is full.
    Paused,
}

impl Situation {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Empty,
        Self::Ready,
        Self::Filling,
        Self::BlockedOnFunction,
        Self::BlockedOnTurn,
        Self::BlockedOnWorkers,
        Self::BlockedOnMemory,
        Self::Unavailable,
        Self::Paused,
    ];

    /// The word that the API uses.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Ready => "ready",
            Self::Filling => "filling",
            Self::BlockedOnFunction => "blocked-on-function",
            Self::BlockedOnTurn => "blocked-on-turn",
            Self::BlockedOnWorkers => "blocked-on-workers",
            Self::BlockedOnMemory => "blocked-on-memory",
            Self::Unavailable => "unavailable",
            Self::Paused => "paused",
        }
    }

    /// The reason, for a person.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Empty => "nothing is ready to run",
            Self::Ready => "the next delivery begins when its turn comes",
            Self::Filling => "deliveries are being read from the store",
            Self::BlockedOnFunction => "the function runs as many attempts as `concurrency` allows",
            Self::BlockedOnTurn => {
                "the function's attempts are made one after the other, and one is not settled yet"
            }
            Self::BlockedOnWorkers => "attempts in flight hold the places that it could have",
            Self::BlockedOnMemory => "attempts in flight hold the memory that it could have",
            Self::Unavailable => "the function has no compiled component",
            Self::Paused => "no attempt begins now: the bus starts or stops, or its disk is full",
        }
    }
}
