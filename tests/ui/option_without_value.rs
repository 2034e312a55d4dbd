use annulet_macros as runtime;

#[runtime::main(entries)]
async fn name_only() {}

#[runtime::main(sqpoll =, budget = 64)]
async fn equals_only() {}

#[runtime::main(thread_name("worker"))]
async fn in_parentheses() {}

#[runtime::main(1024)]
async fn value_only() {}

#[runtime::main(entries = 1024 budget = 64)]
async fn no_comma() {}

fn main() {
    name_only();
    equals_only();
    in_parentheses();
    value_only();
    no_comma();
}
