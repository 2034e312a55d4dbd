use annulet_macros as runtime;

#[runtime::test]
#[test]
async fn a_claim() {}

fn main() {}
