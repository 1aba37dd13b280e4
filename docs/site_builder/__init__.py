"""What the site needs beside Sphinx: pages made from the package, links between pages of the repository, equations, the reference."""
