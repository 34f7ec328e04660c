//! Running totals of orders for each customer, in the function's state.
//!
//! Takes `com.example.order.placed` and keeps `orders/CUSTOMER` (how many) and `cents/CUSTOMER` (how much).
//! The bus commits both with the completion of the delivery, so each order counts exactly once, however
//! often it is attempted. When a customer's total passes `VIP_CENTS` for the first time, one
//! `com.example.customer.vip` is emitted, in the same transaction.
//!
//! `/metrics` shows how many orders and new VIPs there were since the bus started.
//!
//! Config: `VIP_CENTS`, 100000 if it is not set.

#![forbid(unsafe_code)]

use edgebus_sdk::{Emit, Event, Failure, config, function, log, metrics, state};
use serde::{Deserialize, Serialize};

/// An order; other fields don't matter here.
#[derive(Deserialize)]
pub struct Order {
    customer: String,
    total_cents: i64,
}

/// A customer who ordered much.
#[derive(Serialize, Deserialize, PartialEq, Eq, Debug)]
pub struct Vip {
    customer: String,
    orders: i64,
    total_cents: i64,
}

/// Longer names don't fit into a state key with its prefix.
const CUSTOMER_BYTES_MAX: usize = 256;

#[function]
fn handle(event: Event<Order>) -> Result<Option<Emit>, Failure> {
    let order = event.data;
    if order.customer.is_empty() || order.customer.len() > CUSTOMER_BYTES_MAX {
        return Err(Failure::reject("`customer` must have 1 to 256 bytes"));
    }
    if order.total_cents < 0 {
        return Err(Failure::reject("`total_cents` must not be negative"));
    }
    let vip_cents: i64 = config::get_or("VIP_CENTS", 100_000)?;
    let orders = state::increment(&format!("orders/{}", order.customer), 1);
    let total_cents = state::increment(&format!("cents/{}", order.customer), order.total_cents);
    log::info!("{}: {orders} orders, {total_cents} cents", order.customer);
    metrics::count("orders", 1);
    let before = total_cents - order.total_cents;
    if before >= vip_cents || total_cents < vip_cents {
        return Ok(None);
    }
    metrics::count("vips", 1);
    let emit = Emit::new("com.example.customer.vip").subject(&order.customer);
    let vip = Vip {
        customer: order.customer,
        orders,
        total_cents,
    };
    Ok(Some(emit.json(&vip)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgebus_sdk::testing::{self, Harness};

    fn place(customer: &str, total_cents: i64) -> Result<Option<Emit>, Failure> {
        let order = Order {
            customer: customer.to_owned(),
            total_cents,
        };
        handle(testing::event("com.example.order.placed", order))
    }

    #[test]
    fn totals_run() {
        let harness = Harness::new();
        for cents in [100, 250, 0] {
            assert_eq!(place("ada", cents), Ok(None));
        }
        assert_eq!(place("bob", 5), Ok(None));
        assert_eq!(harness.state("orders/ada"), Some(b"3".to_vec()));
        assert_eq!(harness.state("cents/ada"), Some(b"350".to_vec()));
        assert_eq!(harness.state("cents/bob"), Some(b"5".to_vec()));
        assert!(harness.output().ends_with("INFO bob: 1 orders, 5 cents\n"));
        assert_eq!(harness.counted("orders"), 4);
    }

    #[test]
    fn a_customer_becomes_a_vip_once() {
        let harness = Harness::new().config("VIP_CENTS", "300");
        assert_eq!(place("ada", 299), Ok(None));
        let emit = place("ada", 1).expect("fine").expect("she is one now");
        assert_eq!(emit.subject.as_deref(), Some("ada"));
        let expected = Vip {
            customer: "ada".to_owned(),
            orders: 2,
            total_cents: 300,
        };
        assert_eq!(emit.data_as::<Vip>().expect("it is a vip"), expected);
        assert_eq!(place("ada", 1_000), Ok(None));
        assert_eq!(harness.counted("vips"), 1);
    }

    #[test]
    fn bad_orders_are_rejected_and_count_nothing() {
        let harness = Harness::new();
        for (customer, cents) in [("", 1), ("ada", -1), (&"a".repeat(300), 1)] {
            let failure = place(customer, cents).expect_err("a bad order");
            assert!(matches!(failure, Failure::Reject { .. }));
        }
        assert_eq!(harness.state("orders/ada"), None);
    }

    #[test]
    fn a_bad_setting_is_tried_again() {
        let _harness = Harness::new().config("VIP_CENTS", "much");
        let failure = place("ada", 1).expect_err("a bad setting");
        assert_eq!(
            failure,
            Failure::retry("config `VIP_CENTS` can't be `much`")
        );
    }
}
