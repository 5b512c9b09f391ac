"""Examples of programs that use photovax."""
