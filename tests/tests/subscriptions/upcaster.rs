//! A component of upcaster steps: each result of a step is a part with unchanged data. It traps at
//! data of more than [`READABLE_MAX`] bytes.

use std::fmt::Write;

use quipu_tests::guest::component_of_text;

/// The maximum number of bytes of data that a step reads.
pub const READABLE_MAX: usize = 60;

/// From a type and version of a category to the results of lifting it.
#[derive(Clone, Copy)]
pub struct Step(
    pub &'static str,
    pub (&'static str, u32),
    pub &'static [(&'static str, u32)],
);

/// Data of a module, at an address.
struct Data {
    at: usize,
    forms: String,
}

impl Data {
    fn put(&mut self, bytes: &[u8]) -> usize {
        let at = self.at;
        let escaped: String = bytes.iter().map(|byte| format!("\\{byte:02x}")).collect();
        writeln!(self.forms, "(data (i32.const {at}) \"{escaped}\")").unwrap();
        self.at += bytes.len().next_multiple_of(8);
        at
    }

    /// The pointer and length of a text.
    fn text(&mut self, text: &str) -> [usize; 2] {
        [self.put(text.as_bytes()), text.len()]
    }

    fn words(&mut self, words: &[usize]) -> usize {
        let words = words.iter().map(|word| u32::try_from(*word).unwrap());
        let bytes: Vec<u8> = words.flat_map(u32::to_le_bytes).collect();
        self.put(&bytes)
    }
}

/// The component with this name.
pub fn upcaster(name: &str, steps: &[Step]) -> Vec<u8> {
    component(
        name,
        steps,
        &format!("(i32.gt_u (local.get $bytes) (i32.const {READABLE_MAX}))"),
    )
}

/// A component that reads data of any length.
pub fn mended(name: &str, steps: &[Step]) -> Vec<u8> {
    component(name, steps, "(i32.const 0)")
}

fn component(name: &str, steps: &[Step], traps: &str) -> Vec<u8> {
    let mut data = Data {
        at: 0x400,
        forms: String::new(),
    };
    let (name, version) = (data.text(name), data.text("1.0.0"));
    let manifest = data.words(&[&name[..], &version, &[0; 9]].concat());
    let mut records = Vec::new();
    for Step(category, (from, from_version), to) in steps {
        let mut results = Vec::new();
        for (result, result_version) in *to {
            results.extend(data.text(result));
            results.push(*result_version as usize);
        }
        let results = data.words(&results);
        records.extend(data.text(category));
        records.extend(data.text(from));
        records.extend([*from_version as usize, results, to.len()]);
    }
    let records = data.words(&records);
    let list = data.words(&[records, steps.len()]);
    let forms = &data.forms;
    component_of_text(
        &format!(
            r#"(module
  (memory (export "memory") 200)
  {forms}
  ;; Arguments and results of one call; the next call reuses the memory.
  (global $free (mut i32) (i32.const 0x10000))
  (func $take (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (global.get $free))
    (global.set $free (i32.and (i32.add (i32.add (local.get $at) (local.get $size)) (i32.const 7)) (i32.const -8)))
    (local.get $at))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (call $take (local.get 3)))
  (func (export "quipu:domain/manifest@0.1.0#describe") (result i32) (i32.const {manifest}))
  (func (export "quipu:domain/upcaster@0.1.0#steps") (result i32) (i32.const {list}))
  (func (export "quipu:domain/upcaster@0.1.0#upcast") (param $step i32) (param $events i32) (param $count i32) (result i32)
    (local $all i32) (local $each i32) (local $part i32) (local $left i32)
    (local $to i32) (local $bytes i32) (local $answer i32)
    (local.set $step (i32.add (i32.const {records}) (i32.mul (local.get $step) (i32.const 28))))
    (local.set $answer (call $take (i32.const 12)))
    (local.set $all (call $take (i32.mul (local.get $count) (i32.const 8))))
    (i32.store (local.get $answer) (i32.const 0))
    (i32.store offset=4 (local.get $answer) (local.get $all))
    (i32.store offset=8 (local.get $answer) (local.get $count))
    (local.set $each (local.get $all))
    (block $done (loop $events_left
      (br_if $done (i32.eqz (local.get $count)))
      (local.set $bytes (i32.load offset=40 (local.get $events)))
      (if {traps} (then unreachable))
      (local.set $left (i32.load offset=24 (local.get $step)))
      (local.set $to (i32.load offset=20 (local.get $step)))
      (local.set $part (call $take (i32.mul (local.get $left) (i32.const 24))))
      (i32.store (local.get $each) (local.get $part))
      (i32.store offset=4 (local.get $each) (local.get $left))
      (block $whole (loop $parts_left
        (br_if $whole (i32.eqz (local.get $left)))
        (i64.store align=4 (local.get $part) (i64.load align=4 (local.get $to)))
        (i32.store offset=8 (local.get $part) (i32.load offset=8 (local.get $to)))
        (i32.store offset=12 (local.get $part) (i32.load8_u offset=32 (local.get $events)))
        (i64.store offset=16 align=4 (local.get $part) (i64.load offset=36 align=4 (local.get $events)))
        (local.set $to (i32.add (local.get $to) (i32.const 12)))
        (local.set $part (i32.add (local.get $part) (i32.const 24)))
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (br $parts_left)))
      (local.set $each (i32.add (local.get $each) (i32.const 8)))
      (local.set $events (i32.add (local.get $events) (i32.const 48)))
      (local.set $count (i32.sub (local.get $count) (i32.const 1)))
      (br $events_left)))
    (global.set $free (i32.const 0x10000))
    (local.get $answer))
)"#
        ),
        "upcaster-guest",
    )
}
