"""What `novactl bugreport` gathers: a section of it a function, none of which may keep the others away."""
