//! `edgebus:function/replay`: whether the event is delivered again, and by which replay.
//!
//! Every function may read it. An attempt leaves nothing behind. Never here: what a replay is.

/// Its interface in `wit/`.
pub const INTERFACE: &str = "edgebus:function/replay";

/// What a guest may know about the replay that its delivery belongs to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Info {
    /// Its name.
    pub name: String,
    /// Its number; the delivery's id ends with it.
    pub number: u32,
}

/// The replay of one attempt's delivery.
pub struct Replay(Option<Info>);

impl Replay {
    pub(super) fn new(own: Option<Info>) -> Self {
        Self(own)
    }

    /// The replay. `None` for a live delivery.
    #[must_use]
    pub fn current(&self) -> Option<Info> {
        self.0.clone()
    }
}
