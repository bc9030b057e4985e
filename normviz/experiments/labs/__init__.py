"""Labs: experiments that train or optimize while a visitor watches."""
