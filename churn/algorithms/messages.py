"""What made-up customers write to support: a subject, a mood, and words that say nothing of either.

No single word tells a complaint: who asks how to cancel an appointment uses the word of who wants to leave.
"""

from pyspark.sql import Column
from pyspark.sql import functions as F

from shared.core.draws import Draw

_OPENINGS = ("", "", "Hello, ", "Hi there, ", "Good morning, ", "Dear team, ")
_SUBJECTS = (
    "the app crashes whenever I open my profile.",
    "I cannot log in since the last update.",
    "my last invoice lists an amount I do not recognise.",
    "the connection drops every evening around eight.",
    "please change the card you charge each month.",
    "I moved and my address is still the old one.",
    "the confirmation e-mail never reached me.",
    "downloads take far longer than they used to.",
    "I would like to cancel the appointment on Friday.",
    "two devices show different numbers for the same day.",
    "how do I add a second user to my plan?",
    "the new screen is hard to read on a small phone.",
)
COMPLAINTS = (
    "This is the third time I report it and I have had enough.",
    "I am disappointed and think about leaving for another provider.",
    "Nobody answers my calls, which is unacceptable.",
    "I want my money back for this month.",
    "It is simply not worth the price any more.",
    "If it goes on like this I will cancel my contract.",
    "A friend pays half as much elsewhere and has none of this trouble.",
    "Your competitors manage to get this right.",
)
"""Sentences of customers who are about to lose patience; exactly one is in each complaint."""
_OTHERWISE = (
    "Could you tell me where to find that?",
    "Thank you for the quick answer last time.",
    "There is no hurry, I am leaving for a holiday anyway.",
    "I looked through the help pages and must have missed it.",
    "Apart from that all is well and I am happy with the price.",
    "Please let me know what you need from me.",
    "My friend had the same question and you solved it within a day.",
    "I do not want to cancel, only to understand it.",
)
_CLOSINGS = ("", "", " Thanks.", " Best regards", " Kind regards", " Please call me back.")


def message(draw: Draw, is_complaint: Column, *keys: Column | str) -> Column:
    """Return the text of a request for help, from the draws of ``keys``."""
    mood = F.when(is_complaint, draw.pick(COMPLAINTS, "complaint", *keys)).otherwise(
        draw.pick(_OTHERWISE, "otherwise", *keys)
    )
    opening = draw.pick(_OPENINGS, "opening", *keys)
    subject = draw.pick(_SUBJECTS, "subject", *keys)
    text = F.concat(opening, subject, F.lit(" "), mood, draw.pick(_CLOSINGS, "closing", *keys))
    return F.concat(F.upper(F.left(text, F.lit(1))), F.substr(text, F.lit(2)))
