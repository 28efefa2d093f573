"""Eight techniques, one for each way in which a technique may act: tests drop them into a copy of
the checkout as a newcomer would, and newcomers may copy them."""
