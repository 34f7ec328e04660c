//! The function that `edgebus bench` calls: reads its event's data, as a real one would, and does
//! nothing with it, so that what is measured is the bus.

#![forbid(unsafe_code)]

use edgebus_sdk::{Event, Failure, function};
use serde::Deserialize;

/// An order as the bench makes it.
#[derive(Deserialize)]
pub struct Order {
    number: u64,
    customer: String,
    lines: Vec<Line>,
}

#[derive(Deserialize)]
struct Line {
    sku: String,
    quantity: u32,
    cents: u64,
}

#[function]
fn handle(event: Event<Order>) -> Result<(), Failure> {
    let order = event.data;
    let cents: u64 = order
        .lines
        .iter()
        .map(|line| u64::from(line.quantity) * line.cents)
        .sum();
    let named = order.lines.iter().all(|line| !line.sku.is_empty());
    if order.customer.is_empty() || !named || cents == 0 {
        return Err(Failure::reject(format!("order {} is none", order.number)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgebus_sdk::testing;

    #[test]
    fn an_order_is_read() {
        let line = Line {
            sku: "A-1".to_owned(),
            quantity: 2,
            cents: 1999,
        };
        let order = Order {
            number: 1,
            customer: "c-1".to_owned(),
            lines: vec![line],
        };
        assert_eq!(handle(testing::event("com.example.bench", order)), Ok(()));
    }
}
