//! `{"cidr": "10.0.0.0/8"}`: a string that is an IP address inside a block.
//!
//! Addresses are compared as addresses, never as text. An IPv4-mapped IPv6 address counts as IPv4, in the
//! pattern and in the event. Bits beyond the mask may be set and are ignored. A block of one address (/32,
//! /128) is refused, because a plain string matches it.

use super::exact::address;
use crate::pattern::document::{Json, Node};
use crate::pattern::place::{Errors, JsonPlace};
use crate::scalar::{Scalar, quote, shorten};
use std::net::IpAddr;

/// A block of addresses.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Operand {
    /// Any address of the block.
    inside: IpAddr,
    /// How many leading bits the addresses share.
    bits: u32,
    /// The text as written.
    text: Box<str>,
}

const REMEDY: &str = "write \"address/bits\", IPv4 with /0 to /31 or IPv6 with /0 to /127; \
                      for one address write it as a plain string";

/// Reads the operand.
pub(crate) fn parse(
    node: &Node<'_>,
    place: &JsonPlace<'_>,
    errors: &mut Errors,
) -> Option<Operand> {
    let reason = match &node.json {
        Json::Text(text) => match block(text) {
            Ok((inside, bits)) => {
                return Some(Operand {
                    inside,
                    bits,
                    text: text.as_ref().into(),
                });
            }
            Err(reason) => format!("{} {reason}", quote(text)),
        },
        _ => format!("cidr takes a string, not {}", node.kind()),
    };
    errors.add(node.offset, place, reason, REMEDY);
    None
}

fn block(text: &str) -> Result<(IpAddr, u32), &'static str> {
    let (written, bits) = text.split_once('/').ok_or("has no `/bits`")?;
    let inside = address(written).ok_or("doesn't start with an IP address")?;
    let most = if inside.is_ipv4() { 31 } else { 127 };
    let digits = (1..=3).contains(&bits.len()) && bits.bytes().all(|digit| digit.is_ascii_digit());
    match bits.parse() {
        Ok(bits) if digits && bits <= most => Ok((inside, bits)),
        _ if inside.is_ipv4() => Err("doesn't end with 0 to 31 bits"),
        _ => Err("doesn't end with 0 to 127 bits"),
    }
}

impl Operand {
    /// Whether every address of this block is in the other.
    pub(crate) fn is_within(&self, other: &Operand) -> bool {
        self.bits >= other.bits && other.has(self.inside)
    }

    /// Whether an address is in the block.
    pub(crate) fn has(&self, address: IpAddr) -> bool {
        match (self.inside, address) {
            (IpAddr::V4(inside), IpAddr::V4(address)) => {
                (inside.to_bits() ^ address.to_bits()).leading_zeros() >= self.bits
            }
            (IpAddr::V6(inside), IpAddr::V6(address)) => {
                (inside.to_bits() ^ address.to_bits()).leading_zeros() >= self.bits
            }
            _ => false,
        }
    }

    /// An address of the block, and the number of leading bits that its addresses share.
    pub(crate) fn block(&self) -> (IpAddr, u32) {
        (self.inside, self.bits)
    }

    /// Whether the two have no address in common.
    pub(crate) fn is_apart(&self, other: &Operand) -> bool {
        // If two blocks overlap, one is inside the other.
        !self.is_within(other) && !other.is_within(self)
    }

    /// Whether the value is a string that is an address inside the block.
    pub(crate) fn matches(&self, value: &Scalar<'_>) -> bool {
        let Scalar::Text(value) = value else {
            return false;
        };
        address(value).is_some_and(|address| self.has(address))
    }

    /// As a pattern writes it.
    pub(crate) fn describe(&self) -> String {
        format!("{{\"cidr\": {}}}", quote(&self.text))
    }

    /// What it wants, in words.
    pub(crate) fn in_words(&self) -> String {
        format!("an IP address in {}", shorten(&self.text))
    }
}
