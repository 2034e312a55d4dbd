use annulet_macros as runtime;

#[runtime::main(crate = "annulet")]
async fn main() {}
