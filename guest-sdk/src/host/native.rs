//! The implementation for native tests: a bus in the memory of each thread, so that concurrent tests don't
//! share one. Each capability keeps its own part of it.

use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::collections::BTreeMap;

thread_local! {
    static PARTS: RefCell<BTreeMap<TypeId, Box<dyn Any>>> = RefCell::default();
}

/// Calls `use_it` with the part `T` of this thread's bus.
pub(crate) fn with<T: Default + 'static, R>(use_it: impl FnOnce(&mut T) -> R) -> R {
    PARTS.with_borrow_mut(|parts| {
        let part = parts
            .entry(TypeId::of::<T>())
            .or_insert_with(|| Box::new(T::default()));
        use_it(part.downcast_mut().expect("a part is kept under its type"))
    })
}

/// Empties this thread's bus.
pub(crate) fn clear() {
    PARTS.with_borrow_mut(BTreeMap::clear);
}
