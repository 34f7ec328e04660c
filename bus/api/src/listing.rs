//! What all listings have in common: rows, and where to go on.
//!
//! A page has the type of its rows as a parameter. A reader that wants rows as the bus sent them reads
//! `EventPage<Box<RawValue>>`, and the bus writes rows in this way.

use super::delivery::{DeadLetterPage, DeliveryPage};
use super::event::EventPage;
use super::function::FunctionList;
use super::rule::RuleList;
use super::subscription::SubscriptionList;

/// The rows of an answer, whatever they are called there.
#[derive(Clone, Debug)]
pub struct Rows<R> {
    /// The rows, in the answer's order.
    pub rows: Vec<R>,
    /// Give it as `after` for the next page; `None` at the end, and where there are no pages.
    pub next: Option<String>,
    /// Give it as `before` for the page before; `None` where there is none.
    pub older: Option<String>,
    /// Of events: the first position that retention has not reached.
    pub oldest: Option<u64>,
}

/// An answer that is a list.
pub trait Listing {
    /// What it lists.
    type Row;

    /// Its rows, and where to go on.
    fn into_rows(self) -> Rows<Self::Row>;
}

macro_rules! pages {
    ($($name:ident: $member:ident,)+) => {$(
        impl<R> Listing for $name<R> {
            type Row = R;

            fn into_rows(self) -> Rows<R> {
                Rows {
                    rows: self.$member,
                    next: self.next,
                    older: self.older.flatten(),
                    oldest: None,
                }
            }
        }
    )+};
}

impl<R> Listing for EventPage<R> {
    type Row = R;

    fn into_rows(self) -> Rows<R> {
        Rows {
            rows: self.events,
            next: self.next,
            older: self.older.flatten(),
            oldest: self.oldest,
        }
    }
}

pages! {
    DeliveryPage: deliveries,
    DeadLetterPage: dead_letters,
}

macro_rules! whole {
    ($($name:ident: $member:ident,)+) => {$(
        impl<R> Listing for $name<R> {
            type Row = R;

            fn into_rows(self) -> Rows<R> {
                Rows {
                    rows: self.$member,
                    next: None,
                    older: None,
                    oldest: None,
                }
            }
        }
    )+};
}

whole! {
    FunctionList: functions,
    RuleList: rules,
    SubscriptionList: subscriptions,
}
