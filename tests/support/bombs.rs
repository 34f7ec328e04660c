//! Components that cost much to compile: a function's component with one more module, written byte by byte.

/// `component` with `module` beside its own; nothing instantiates it, but it is compiled.
pub(crate) fn with_module(component: &[u8], module: &[u8]) -> Vec<u8> {
    let mut bytes = component.to_vec();
    section(&mut bytes, 1, module);
    bytes
}

/// A module of `count` functions; function `number` has the body that `body` writes, after its locals.
fn module(count: u32, locals: u32, mut body: impl FnMut(u32, &mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = b"\0asm\x01\0\0\0".to_vec();
    // One type, a function of nothing.
    section(&mut bytes, 1, &[1, 0x60, 0, 0]);
    let mut types = Vec::new();
    number(&mut types, count);
    types.extend(std::iter::repeat_n(0, count as usize));
    section(&mut bytes, 3, &types);
    let mut code = Vec::new();
    number(&mut code, count);
    for index in 0..count {
        let mut function = Vec::new();
        if locals == 0 {
            function.push(0);
        } else {
            function.push(1);
            number(&mut function, locals);
            // Integers of 32 bits.
            function.push(0x7f);
        }
        body(index, &mut function);
        function.push(0x0b);
        number(&mut code, u32::try_from(function.len()).unwrap());
        code.extend(function);
    }
    section(&mut bytes, 10, &code);
    bytes
}

/// `count` functions that do nothing.
pub(crate) fn tiny_functions(count: u32) -> Vec<u8> {
    module(count, 0, |_, _| {})
}

/// `count` functions of `steps` steps of arithmetic each: as large as a program is.
pub(crate) fn plain_functions(count: u32, steps: u32) -> Vec<u8> {
    module(count, 8, |index, out| {
        for step in 0..steps {
            add_locals(out, (index + step) % 8, (step * 3) % 8);
        }
    })
}

/// One function of many locals with loops, one inside the other or one behind the other.
pub(crate) fn loops(count: u32, locals: u32, nested: bool) -> Vec<u8> {
    module(1, locals, |_, out| {
        for index in 0..count {
            out.extend([0x03, 0x40]);
            let (one, other) = (index * 7 % locals, index * 13 % locals);
            add_locals(out, one, other);
            // On with the loop if the sum is not 0.
            out.push(0x20);
            number(out, one);
            out.extend([0x0d, 0]);
            if !nested {
                out.push(0x0b);
            }
        }
        if nested {
            out.extend(std::iter::repeat_n(0x0b, count as usize));
        }
    })
}

/// `one += other`.
fn add_locals(out: &mut Vec<u8>, one: u32, other: u32) {
    out.push(0x20);
    number(out, one);
    out.push(0x20);
    number(out, other);
    out.extend([0x6a, 0x21]);
    number(out, one);
}

fn section(out: &mut Vec<u8>, id: u8, body: &[u8]) {
    out.push(id);
    number(out, u32::try_from(body.len()).unwrap());
    out.extend_from_slice(body);
}

/// An unsigned number as WebAssembly writes it.
fn number(out: &mut Vec<u8>, mut value: u32) {
    loop {
        let low = u8::try_from(value & 0x7f).unwrap();
        value >>= 7;
        out.push(if value == 0 { low } else { low | 0x80 });
        if value == 0 {
            return;
        }
    }
}
