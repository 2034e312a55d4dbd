use annulet_macros as runtime;

#[runtime::test]
fn a_claim() {}

fn main() {}
