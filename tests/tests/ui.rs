//! What the macros say when they are used wrongly.
//!
//! Each file in `ui/` does not compile; the `.stderr` beside it is what the compiler says. After a
//! change of wording: `TRYBUILD=overwrite cargo test -p annulet-tests wrong_uses`, and read the diff.

#[test]
fn wrong_uses_of_the_macros_say_what_to_write_instead() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("ui/*.rs");
}
