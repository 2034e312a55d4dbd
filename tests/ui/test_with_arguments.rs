use annulet_macros as runtime;

#[runtime::test]
async fn a_claim(port: u16) {
    assert_ne!(port, 0);
}

fn main() {}
