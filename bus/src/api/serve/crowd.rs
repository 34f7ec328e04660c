//! Who is connected: so many in all, so many from one address, and a few places more for health and
//! metrics, so that a full house can still be looked at.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::Limits;

/// What a connection may ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::api) enum Standing {
    /// Everything.
    Guest,
    /// Health, version and metrics: the house is full.
    Observer,
}

/// Places that one address may have among those for observers.
const OBSERVERS_PER_ADDRESS_MAX: usize = 4;

/// The connections that are open.
#[derive(Clone)]
pub(super) struct Crowd {
    // A plain mutex: it is held for one look-up when a connection comes and one when it goes.
    counts: Arc<Mutex<Counts>>,
    guests_max: usize,
    guests_per_address_max: usize,
    observers_max: usize,
}

#[derive(Default)]
struct Counts {
    guests: usize,
    observers: usize,
    addresses: HashMap<IpAddr, (usize, usize)>,
}

/// A place; given back when it is dropped.
pub(super) struct Ticket {
    crowd: Crowd,
    address: IpAddr,
    pub(super) standing: Standing,
}

impl Crowd {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            counts: Arc::default(),
            guests_max: limits.connections_max,
            guests_per_address_max: limits.connections_per_address_max,
            observers_max: limits.connections_reserved,
        }
    }

    /// A place for a connection from `address`, or `None` if every place is taken.
    pub(super) fn admit(&self, address: IpAddr) -> Option<Ticket> {
        let address = group(address);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let Counts {
            guests,
            observers,
            addresses,
        } = &mut *counts;
        let (own_guests, own_observers) = addresses.get(&address).copied().unwrap_or_default();
        let standing = if *guests < self.guests_max && own_guests < self.guests_per_address_max {
            *guests += 1;
            addresses.entry(address).or_default().0 += 1;
            Standing::Guest
        } else if *observers < self.observers_max && own_observers < OBSERVERS_PER_ADDRESS_MAX {
            *observers += 1;
            addresses.entry(address).or_default().1 += 1;
            Standing::Observer
        } else {
            return None;
        };
        Some(Ticket {
            crowd: self.clone(),
            address,
            standing,
        })
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut counts = self
            .crowd
            .counts
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let Counts {
            guests,
            observers,
            addresses,
        } = &mut *counts;
        let Some(own) = addresses.get_mut(&self.address) else {
            return;
        };
        let (all, own_count) = match self.standing {
            Standing::Guest => (guests, &mut own.0),
            Standing::Observer => (observers, &mut own.1),
        };
        *all = all.saturating_sub(1);
        *own_count = own_count.saturating_sub(1);
        if *own == (0, 0) {
            addresses.remove(&self.address);
        }
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

    fn standing(ticket: Option<&Ticket>) -> Option<Standing> {
        ticket.map(|ticket| ticket.standing)
    }

    #[test]
    fn places_are_bounded_and_given_back() {
        let crowd = Crowd::new(&Limits {
            connections_max: 3,
            connections_per_address_max: 2,
            connections_reserved: 2,
            ..Limits::default()
        });
        let admit = |text: &str| crowd.admit(text.parse().unwrap());
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
        let counts = crowd.counts.lock().unwrap();
        assert_eq!((counts.guests, counts.observers), (0, 0));
        assert!(counts.addresses.is_empty());
    }
}
