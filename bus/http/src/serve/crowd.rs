//! Who is connected: so many in all, so many from one address, and a few places more for health and
//! metrics, so that a full house can still be looked at.
//!
//! When every place is taken, whoever keeps the server waiting longest gives way to the newcomer, so that
//! silent connections keep nobody out, whichever address they come from. Never here: time limits.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::Limits;
use super::activity::Waits;
use super::socket::{Line, Sight};

/// What a connection may ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Standing {
    /// Everything.
    Guest,
    /// Health, version and metrics: the house is full.
    Observer,
}

/// Places that one address may have among those for observers.
const OBSERVERS_PER_ADDRESS_MAX: usize = 4;
/// Connections that are looked at for one that gives way.
const LOOKED_AT_MAX: usize = 8;

/// The connections that are open.
#[derive(Clone)]
pub(super) struct Crowd {
    // A plain mutex: it is held for a few look-ups when a connection comes and one when it goes, and for
    // a pass over all connections when a newcomer finds no place.
    places: Arc<Mutex<Places>>,
    limits: Arc<Limits>,
}

#[derive(Default)]
struct Places {
    /// The number of the newest connection.
    newest: u64,
    taken: HashMap<u64, Place>,
    guests: usize,
    observers: usize,
    addresses: HashMap<IpAddr, (usize, usize)>,
}

struct Place {
    address: IpAddr,
    standing: Standing,
    line: Arc<Line>,
}

/// A place; given back when it is dropped, unless a newcomer has it by then.
pub(super) struct Ticket {
    crowd: Crowd,
    number: u64,
    pub(super) standing: Standing,
}

impl Crowd {
    pub(super) fn new(limits: Arc<Limits>) -> Self {
        Self {
            places: Arc::default(),
            limits,
        }
    }

    /// A place for a connection from `address`, or `None` if every place is taken.
    pub(super) fn admit(&self, address: IpAddr, line: &Arc<Line>) -> Option<Ticket> {
        let address = group(address);
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let standing = [Standing::Guest, Standing::Observer]
            .into_iter()
            .find(|standing| places.make_room(*standing, address, &self.limits))?;
        places.count(standing, address, 1);
        places.newest += 1;
        let number = places.newest;
        let place = Place {
            address,
            standing,
            line: line.clone(),
        };
        places.taken.insert(number, place);
        Some(Ticket {
            crowd: self.clone(),
            number,
            standing,
        })
    }

    /// Lets one connection give way that waits for its client: the system has no more sockets.
    pub(super) fn give_up_one(&self) {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.evict(|_| true, &self.limits);
    }
}

impl Places {
    /// True if there is a free place, for which one who waits may have to go.
    fn make_room(&mut self, standing: Standing, address: IpAddr, limits: &Limits) -> bool {
        let (own_guests, own_observers) = self.addresses.get(&address).copied().unwrap_or_default();
        let (all, all_max, own, own_max) = match standing {
            Standing::Guest => (
                self.guests,
                limits.connections_max,
                own_guests,
                limits.connections_per_address_max,
            ),
            Standing::Observer => (
                self.observers,
                limits.connections_reserved,
                own_observers,
                OBSERVERS_PER_ADDRESS_MAX,
            ),
        };
        // Where an address has all that it may have, only one of its own can go.
        let (is_full, own_is_full) = (all >= all_max, own >= own_max);
        if !is_full && !own_is_full {
            return true;
        }
        self.evict(
            |place| place.standing == standing && (!own_is_full || place.address == address),
            limits,
        )
    }

    /// Frees the place of the one that keeps the server waiting longest.
    fn evict(&mut self, may_go: impl Fn(&Place) -> bool, limits: &Limits) -> bool {
        let mut waiting: Vec<(Waits, std::cmp::Reverse<u64>, u64)> = self
            .taken
            .iter()
            .filter(|(_, place)| may_go(place))
            .filter_map(|(number, place)| {
                let (waits, ms) = place.line.activity.waiting()?;
                let yields_after = match waits {
                    Waits::First => limits.first_yields_after_ms,
                    Waits::Next | Waits::Rest => limits.idle_yields_after_ms,
                };
                (ms >= yields_after).then_some((waits, std::cmp::Reverse(ms), *number))
            })
            .collect();
        let few = LOOKED_AT_MAX.min(waiting.len());
        if few == 0 {
            return false;
        }
        waiting.select_nth_unstable(few - 1);
        waiting.truncate(few);
        waiting.sort_unstable();
        for (_, _, number) in waiting {
            let Some(place) = self.taken.get(&number) else {
                continue;
            };
            // A request may have come that its task has not got to yet.
            if place.line.look() != Sight::Sending {
                place.line.evicted.notify_one();
                self.free(number);
                return true;
            }
        }
        false
    }

    fn free(&mut self, number: u64) {
        if let Some(place) = self.taken.remove(&number) {
            self.count(place.standing, place.address, -1);
        }
    }

    fn count(&mut self, standing: Standing, address: IpAddr, change: isize) {
        let own = self.addresses.entry(address).or_default();
        let (all, own_count) = match standing {
            Standing::Guest => (&mut self.guests, &mut own.0),
            Standing::Observer => (&mut self.observers, &mut own.1),
        };
        *all = all.saturating_add_signed(change);
        *own_count = own_count.saturating_add_signed(change);
        if *own == (0, 0) {
            self.addresses.remove(&address);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut places = self
            .crowd
            .places
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        places.free(self.number);
    }
}

/// One customer has one IPv4 address or one IPv6 /64.
fn group(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use tokio::net::{TcpListener, TcpStream};

    fn standing(ticket: Option<&Ticket>) -> Option<Standing> {
        ticket.map(|ticket| ticket.standing)
    }

    /// A connection, with its client.
    async fn line() -> (Arc<Line>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (client, accepted) = tokio::join!(client, listener.accept());
        (Line::new(accepted.unwrap().0).0, client.unwrap())
    }

    #[tokio::test]
    async fn places_are_bounded_and_given_back() {
        let crowd = Crowd::new(Arc::new(Limits {
            connections_max: 3,
            connections_per_address_max: 2,
            connections_reserved: 2,
            ..Limits::default()
        }));
        let (line, _client) = line().await;
        // A request runs, so that nobody gives way.
        let _request = line.activity.open(false);
        let admit = |text: &str| crowd.admit(text.parse().unwrap(), &line);
        let first = admit("10.0.0.1");
        let second = admit("::ffff:10.0.0.1");
        assert_eq!(standing(second.as_ref()), Some(Standing::Guest));
        let third = admit("10.0.0.1");
        assert_eq!(standing(third.as_ref()), Some(Standing::Observer));
        let fourth = admit("2001:db8::1");
        assert_eq!(standing(fourth.as_ref()), Some(Standing::Guest));
        let fifth = admit("2001:db8::2");
        assert_eq!(standing(fifth.as_ref()), Some(Standing::Observer));
        assert!(admit("10.0.0.9").is_none());
        drop(first);
        assert_eq!(standing(admit("10.0.0.9").as_ref()), Some(Standing::Guest));
        drop((second, third, fourth, fifth));
        let places = crowd.places.lock().unwrap();
        assert_eq!((places.guests, places.observers), (0, 0));
        assert!(places.addresses.is_empty() && places.taken.is_empty());
    }

    #[tokio::test]
    async fn whoever_keeps_the_server_waiting_gives_way() {
        let crowd = Crowd::new(Arc::new(Limits {
            connections_max: 3,
            connections_reserved: 0,
            first_yields_after_ms: 0,
            idle_yields_after_ms: 0,
            ..Limits::default()
        }));
        let address: IpAddr = "127.0.0.1".parse().unwrap();
        let (silent, _silent_client) = line().await;
        let (idle, _idle_client) = line().await;
        drop(idle.activity.open(false));
        let (busy, _busy_client) = line().await;
        let _request = busy.activity.open(false);
        let tickets = [&busy, &idle, &silent].map(|line| crowd.admit(address, line).unwrap());
        let is_in = |line: &Arc<Line>| {
            let places = crowd.places.lock().unwrap();
            places
                .taken
                .values()
                .any(|place| Arc::ptr_eq(&place.line, line))
        };
        // The silent one goes first, then the one that waits for its next request.
        let (first, _first_client) = line().await;
        let _first_request = first.activity.open(false);
        let first_ticket = crowd.admit(address, &first);
        assert_eq!(standing(first_ticket.as_ref()), Some(Standing::Guest));
        assert!(!is_in(&silent) && is_in(&idle) && is_in(&busy));
        silent.evicted.notified().await;
        let (second, second_client) = line().await;
        let second_ticket = crowd.admit(address, &second);
        assert!(second_ticket.is_some() && !is_in(&idle) && is_in(&busy));
        // One whose request has come and was not read yet does not go, nor does one that is served.
        second_client.writable().await.unwrap();
        second_client.try_write(b"GET").unwrap();
        assert!(crowd.admit(address, &line().await.0).is_none());
        assert!(is_in(&second) && is_in(&busy));
        // Who gave way gives nothing back a second time.
        drop(tickets);
        let places = crowd.places.lock().unwrap();
        assert_eq!(places.guests, 2);
    }
}
