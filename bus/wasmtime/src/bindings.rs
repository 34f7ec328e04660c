//! The world in `wit/` as Rust types, generated. Arguments are borrowed, so that an event is written
//! into the guest without a copy before it.

::wasmtime::component::bindgen!({
    path: "../../wit",
    world: "function",
    imports: {
        "edgebus:function/log": trappable,
        default: async | trappable,
    },
    exports: { default: async },
    ownership: Borrowing { duplicate_if_necessary: true },
});
