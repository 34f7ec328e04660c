//! Limits the number of connections, in total and for each address. A few more may use health and metrics, so
//! that a server at its limit can still be monitored.
//!
//! At the limit, a new connection replaces the one that has kept the server waiting longest. So idle
//! connections don't keep others out. Never here: time limits.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::Limits;
use super::activity::Waits;
use super::socket::{ClientState, Line};

/// What a connection may request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Access {
    /// Everything.
    Full,
    /// Health, version and metrics, because the server is at its connection limit.
    HealthOnly,
}

/// How many health-only connections one address may have.
const HEALTH_ONLY_PER_ADDRESS_MAX: usize = 4;
/// How many connections are checked to find one to close.
const LOOKED_AT_MAX: usize = 8;

/// The open connections.
#[derive(Clone)]
pub(super) struct ConnectionLimiter {
    // A plain mutex. It is held for a few look-ups when a connection comes, for one when it goes, and for a
    // pass over all connections when a new one finds no place.
    connections: Arc<Mutex<Connections>>,
    limits: Arc<Limits>,
}

#[derive(Default)]
struct Connections {
    /// The number of the newest connection.
    newest: u64,
    taken: HashMap<u64, Connection>,
    full_access: usize,
    health_only: usize,
    addresses: HashMap<IpAddr, (usize, usize)>,
}

struct Connection {
    address: IpAddr,
    access: Access,
    line: Arc<Line>,
}

/// A connection's place. It is freed when this is dropped, unless a new connection has taken it already.
pub(super) struct ConnectionPermit {
    connection_limiter: ConnectionLimiter,
    number: u64,
    pub(super) access: Access,
}

impl ConnectionLimiter {
    pub(super) fn new(limits: Arc<Limits>) -> Self {
        Self {
            connections: Arc::default(),
            limits,
        }
    }

    /// A place for a connection from `address`, or `None` if every place is taken.
    pub(super) fn admit(&self, address: IpAddr, line: &Arc<Line>) -> Option<ConnectionPermit> {
        let address = group(address);
        let mut connections = self
            .connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let access = [Access::Full, Access::HealthOnly]
            .into_iter()
            .find(|access| connections.make_room(*access, address, &self.limits))?;
        connections.count(access, address, 1);
        connections.newest += 1;
        let number = connections.newest;
        let place = Connection {
            address,
            access,
            line: line.clone(),
        };
        connections.taken.insert(number, place);
        Some(ConnectionPermit {
            connection_limiter: self.clone(),
            number,
            access,
        })
    }

    /// Closes one connection that waits for its client, because the system has no more sockets.
    pub(super) fn give_up_one(&self) {
        let mut connections = self
            .connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        connections.evict(|_| true, &self.limits);
    }
}

impl Connections {
    /// True if there is a free place. To get one, a connection that waits for its client may be closed.
    fn make_room(&mut self, access: Access, address: IpAddr, limits: &Limits) -> bool {
        let (own_guests, own_observers) = self.addresses.get(&address).copied().unwrap_or_default();
        let (all, all_max, own, own_max) = match access {
            Access::Full => (
                self.full_access,
                limits.connections_max,
                own_guests,
                limits.connections_per_address_max,
            ),
            Access::HealthOnly => (
                self.health_only,
                limits.connections_reserved,
                own_observers,
                HEALTH_ONLY_PER_ADDRESS_MAX,
            ),
        };
        // If an address has all places that it may have, only one of its own connections can be closed.
        let (is_full, own_is_full) = (all >= all_max, own >= own_max);
        if !is_full && !own_is_full {
            return true;
        }
        self.evict(
            |place| place.access == access && (!own_is_full || place.address == address),
            limits,
        )
    }

    /// Frees the place of the connection that has kept the server waiting longest.
    fn evict(&mut self, may_go: impl Fn(&Connection) -> bool, limits: &Limits) -> bool {
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
            // A request may have arrived that the connection's task has not read yet.
            if place.line.look() != ClientState::Sending {
                place.line.evicted.notify_one();
                self.free(number);
                return true;
            }
        }
        false
    }

    fn free(&mut self, number: u64) {
        if let Some(place) = self.taken.remove(&number) {
            self.count(place.access, place.address, -1);
        }
    }

    fn count(&mut self, access: Access, address: IpAddr, change: isize) {
        let own = self.addresses.entry(address).or_default();
        let (all, own_count) = match access {
            Access::Full => (&mut self.full_access, &mut own.0),
            Access::HealthOnly => (&mut self.health_only, &mut own.1),
        };
        *all = all.saturating_add_signed(change);
        *own_count = own_count.saturating_add_signed(change);
        if *own == (0, 0) {
            self.addresses.remove(&address);
        }
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut connections = self
            .connection_limiter
            .connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        connections.free(self.number);
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

    fn access(connection_permit: Option<&ConnectionPermit>) -> Option<Access> {
        connection_permit.map(|connection_permit| connection_permit.access)
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
        let connection_limiter = ConnectionLimiter::new(Arc::new(Limits {
            connections_max: 3,
            connections_per_address_max: 2,
            connections_reserved: 2,
            ..Limits::default()
        }));
        let (line, _client) = line().await;
        // A request is running, so no connection may be closed.
        let _request = line.activity.open(false);
        let admit = |text: &str| connection_limiter.admit(text.parse().unwrap(), &line);
        let first = admit("10.0.0.1");
        let second = admit("::ffff:10.0.0.1");
        assert_eq!(access(second.as_ref()), Some(Access::Full));
        let third = admit("10.0.0.1");
        assert_eq!(access(third.as_ref()), Some(Access::HealthOnly));
        let fourth = admit("2001:db8::1");
        assert_eq!(access(fourth.as_ref()), Some(Access::Full));
        let fifth = admit("2001:db8::2");
        assert_eq!(access(fifth.as_ref()), Some(Access::HealthOnly));
        assert!(admit("10.0.0.9").is_none());
        drop(first);
        assert_eq!(access(admit("10.0.0.9").as_ref()), Some(Access::Full));
        drop((second, third, fourth, fifth));
        let connections = connection_limiter.connections.lock().unwrap();
        assert_eq!((connections.full_access, connections.health_only), (0, 0));
        assert!(connections.addresses.is_empty() && connections.taken.is_empty());
    }

    #[tokio::test]
    async fn whoever_keeps_the_server_waiting_gives_way() {
        let connection_limiter = ConnectionLimiter::new(Arc::new(Limits {
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
        let tickets =
            [&busy, &idle, &silent].map(|line| connection_limiter.admit(address, line).unwrap());
        let is_in = |line: &Arc<Line>| {
            let connections = connection_limiter.connections.lock().unwrap();
            connections
                .taken
                .values()
                .any(|place| Arc::ptr_eq(&place.line, line))
        };
        // The silent connection is closed first, then the one that waits for its next request.
        let (first, _first_client) = line().await;
        let _first_request = first.activity.open(false);
        let first_ticket = connection_limiter.admit(address, &first);
        assert_eq!(access(first_ticket.as_ref()), Some(Access::Full));
        assert!(!is_in(&silent) && is_in(&idle) && is_in(&busy));
        silent.evicted.notified().await;
        let (second, second_client) = line().await;
        let second_ticket = connection_limiter.admit(address, &second);
        assert!(second_ticket.is_some() && !is_in(&idle) && is_in(&busy));
        // A connection whose request has arrived but was not read yet is not closed. Neither is one that is
        // being served.
        second_client.writable().await.unwrap();
        second_client.try_write(b"GET").unwrap();
        assert!(connection_limiter.admit(address, &line().await.0).is_none());
        assert!(is_in(&second) && is_in(&busy));
        // A connection that was closed for another one must not free a second place.
        drop(tickets);
        let connections = connection_limiter.connections.lock().unwrap();
        assert_eq!(connections.full_access, 2);
    }
}
