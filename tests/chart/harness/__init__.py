"""What the tests of the chart share: rendering it, its expressions, its processes."""
