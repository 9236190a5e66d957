"""What a specialist forgot, gives away and would gain: what a proof asks beyond the test.

    losses      nats for given answers, by any tail on one trunk
    items       short questions with answers to choose from: the general probe
    probe       how base and specialist answer them; the user's own file of what must not be forgotten
    outside     scores of questions that are, and that are not, the specialist's job
    lessons     new tails, trained on other examples as the specialist was
    curve       tails on shares of the examples: what more of them would bring
    canaries    planted secrets, and how well a tail then knows them
    membership  how the loss tells training examples from others
    extraction  personal data of training prompts that comes back word for word

Everything is a generator of rows (`evaluate.prediction`). Knows specialists, cache and settings; nothing of
folders of specialists or of how rows are judged.
"""
