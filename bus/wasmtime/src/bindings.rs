//! The world in `wit/` as generated Rust types. Arguments are borrowed, so that an event is written into the
//! guest without another copy.

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
