use annulet_macros as runtime;

#[runtime::main(entries = 1024, budget = 64, entries = 512)]
async fn main() {}
