"""What is known of each agent for trying it: how it is led to the stub model. A module an agent."""
