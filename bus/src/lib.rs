//! edgebus.
